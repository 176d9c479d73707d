"""Find and kill the descendants of this process. Linux only, through /proc and prctl(2).

The processes of a case may leave their process group (setsid) and their parent (double fork). They
cannot leave a *subreaper*: PR_SET_CHILD_SUBREAPER makes this process the parent of every orphaned
descendant. So processes that outlive a case are among the children of this process.
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
    """A process that outlived its case."""

    pid: int
    argv: str
    """The command line in /proc."""


def become_subreaper() -> None:
    """Make this process the parent of its orphaned descendants. Not inherited by fork."""
    _libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with(parent_pid: int) -> None:
    """Let the kernel kill this process when its parent ends; exit if the parent is gone already."""
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent_pid:
        os._exit(1)


def children(pid: int | None = None) -> list[int]:
    """Return the PIDs of the children of a process (by default this one), with zombies."""
    task = _PROC / str(pid or os.getpid()) / "task"
    found: list[int] = []
    with contextlib.suppress(OSError):
        for thread in task.iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (thread / "children").read_text().split())
    return found


def descendants(pid: int | None = None) -> Iterator[int]:
    """Yield the PIDs of all descendants of a process, parents before their children."""
    for child in children(pid):
        yield child
        yield from descendants(child)


def state(pid: int) -> str:
    """Return the state letter of proc(5): R, S, D, T, Z, ...; "" if the process is gone."""
    try:
        stat = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return ""
    return stat.rpartition(")")[2].split()[0]


def command_line(pid: int) -> str:
    """Return the arguments of a process joined by blanks; without any, its name in brackets."""
    with contextlib.suppress(OSError):
        if arguments := (_PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0"):
            return arguments.replace(b"\0", b" ").decode(errors="backslashreplace")
    with contextlib.suppress(OSError):
        return f"[{(_PROC / str(pid) / 'comm').read_text().strip()}]"
    return "[gone]"


def living(pids: Iterator[int]) -> list[Stray]:
    """Return the running processes of `pids`, without zombies, with their command lines."""
    return [Stray(pid, command_line(pid)) for pid in pids if state(pid) not in ("", "Z", "X")]


def end_strays(spared: Collection[int]) -> list[Stray]:
    """Kill all descendants except the children in `spared` and their descendants.

    It kills in rounds, because children of a killed process become children of this one. It reaps
    zombies. It returns the processes that were alive, parents first.
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
        if clock.now_s() > deadline_s:  # stuck in the kernel (state D): it cannot be killed
            break
        if any(state(pid) != "" for pid in ours):
            clock.pause(0.001)
    return list(strays.values())


def reap(pid: int) -> int | None:
    """Return the wait status of a child that has ended; None if it runs, or is not a child."""
    try:
        done, status = os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        return None
    return status if done else None


def kill_group(pid: int) -> None:
    """Send SIGKILL to the process group of `pid`, and to `pid`, which may have left that group."""
    for kill in (os.killpg, os.kill):
        with contextlib.suppress(OSError):
            kill(pid, signal.SIGKILL)
