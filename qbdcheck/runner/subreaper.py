"""Processes below this one: who they are, and their end. Linux only, through /proc and prctl(2).

A case's processes may leave their process group (setsid) and their parent (double fork). They
cannot leave a *sub-reaper*: PR_SET_CHILD_SUBREAPER makes this process the parent of every orphan
below it, so that whoever is left when a case has ended is found by looking at our own children.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path

from qbdcheck import clock

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_libc = ctypes.CDLL(None, use_errno=True)
_KILL_PATIENCE_S = 5.0
_PROC = Path("/proc")


@dataclass(frozen=True)
class Stray:
    """A process that was still there when its case had ended."""

    pid: int
    argv: str
    """The command line, as far as /proc shows it."""


def become_subreaper() -> None:
    """Make this process the parent of all orphans below it. Not inherited by fork."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent_pid: int) -> None:
    """Let the kernel kill this process when its parent ends; at once if that has happened."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def children(pid: int | None = None) -> list[int]:
    """PIDs of the children of a process (this one by default), zombies too; [] when it is gone."""
    task = _PROC / str(pid or os.getpid()) / "task"
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in task.iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int | None = None) -> Iterator[int]:
    """PIDs of all processes below one, parents before their children."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def state(pid: int) -> str:
    """The state letter of proc(5): R, S, D, T, Z, ...; "" when the process is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def command_line(pid: int) -> str:
    """The arguments of a process joined by blanks; its name in brackets where it has none."""
    with contextlib.suppress(OSError):
        if words := (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0"):
            return words.replace(b"\0", b" ").decode(errors="backslashreplace")
    with contextlib.suppress(OSError):
        return f"[{(_PROC / str(pid) / 'comm').read_text().strip()}]"
    return "[gone]"


def living(pids: Iterator[int]) -> list[Stray]:
    """Those of `pids` that run, with their command lines; zombies have ended."""
    return [Stray(pid, command_line(pid)) for pid in pids if state(pid) not in ("", "Z", "X")]


def end_strays(spared: Collection[int]) -> list[Stray]:
    """Kill all that is below this process, except its children `spared` and what is below them.

    Kills in rounds, because the children of what is killed become ours. Zombies are reaped.
    Returns who was alive, parents first.
    """
    strays: dict[int, Stray] = {}
    deadline_s = clock.now_s() + _KILL_PATIENCE_S
    while ours := [pid for pid in children() if pid not in spared]:
        for child in ours:
            for stray in living(iter([child, *descendants(child)])):
                strays.setdefault(stray.pid, stray)
                with contextlib.suppress(OSError):
                    os.kill(stray.pid, signal.SIGKILL)
            reap(child)
        if clock.now_s() > deadline_s:  # stuck in the kernel (state D): nobody can end it
            break
        if any(state(pid) != "" for pid in ours):
            clock.pause(0.001)
    return list(strays.values())


def reap(pid: int) -> int | None:
    """Collect the wait status of a child that has ended; None while it runs or is not ours."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if done else None


def kill_group(pid: int) -> None:
    """SIGKILL the process group of `pid`, and `pid` itself in case it left that group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)
