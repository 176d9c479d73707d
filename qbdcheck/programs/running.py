"""The base of child processes and daemons: both are watched through a pidfd (pidfd_open(2))."""

from __future__ import annotations

import contextlib
import os
import select
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from signal import SIGTERM, Signals

from qbdcheck.machine_speed import Limit

TERM_GRACE_S = 5.0
"""Seconds that a program may take to end after SIGTERM before it gets SIGKILL."""
_TAIL_LINES = 5
CRASHES = frozenset(-Signals[f"SIG{one}"] for one in ("SEGV", "ABRT", "BUS", "FPE", "ILL"))
"""Exit statuses of programs that ended by a mistake of their own, such as a failed assertion."""


def tail(text: str, lines: int = _TAIL_LINES) -> str:
    """Return the last non-empty lines of a program's output on one line, joined by `` | ``."""
    kept = [line.strip() for line in text.splitlines() if line.strip()]
    return " | ".join(kept[-lines:])


def kill_group(pid: int, number: Signals) -> None:
    """Send a signal to a process group. Do nothing if the group is gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def status_of_zombie(pid: int) -> int | None:
    """Return the exit status of a process that has ended and was not collected yet.

    Negative after a signal. None if it runs, is gone, or is not ours (proc(5), stat, exit_code).
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return os.waitstatus_to_exitcode(int(fields[-1])) if fields[0] == "Z" else None


class RunningProgram(ABC):
    """A program that was started. Its end is seen through a pidfd.

    :param argv: its command line.
    :param pid: its process id.
    """

    def __init__(self, argv: Sequence[str], pid: int) -> None:
        self.argv = tuple(argv)
        self.pid = pid
        try:
            self._pidfd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._pidfd = None

    @abstractmethod
    def output(self) -> str:
        """Return what the program has written to stdout and stderr."""

    @abstractmethod
    def _exit_status(self) -> int:
        """Return the exit status of the program, which has ended."""

    @abstractmethod
    def _describe_state(self) -> str:
        """Return a verb phrase, such as ``is running`` or ``exited with 1``."""

    @abstractmethod
    def _reap(self) -> None:
        """Kill the program and its group, collect it, and close the pidfd."""

    @property
    def returncode(self) -> int | None:
        """The exit status; negative after a signal, None while the program runs."""
        return self._exit_status() if self.has_ended_within(0) else None

    @property
    def crash(self) -> int | None:
        """The exit status of a program that crashed (`CRASHES`), else None."""
        return self.returncode if self.returncode in CRASHES else None

    @property
    def is_running(self) -> bool:
        """Whether the program has not ended yet."""
        return not self.has_ended_within(0)

    def describe(self) -> str:
        """Return the state of the program and its last output, on one line."""
        reported = tail(self.output())
        how = f"{Path(self.argv[0]).name} {self._describe_state()}"
        return f"{how}: {reported}" if reported else f"{how} and printed nothing"

    def has_ended_within(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds for the end. Return whether the program has ended."""
        if self._pidfd is None:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(max(0.0, timeout_s) * 1000):
            return False
        self._reap()
        return True

    def has_ended_in(self, limit: Limit) -> bool:
        """Wait up to a limit for the end. Return whether the program has ended."""
        while not self.has_ended_within(left_s := limit.left_s()):
            if left_s == 0:
                return False
        return True

    def signal(self, number: Signals) -> None:
        """Send a signal to the program itself, not to its children."""
        if self.is_running:
            os.kill(self.pid, number)

    def stop(self, number: Signals = SIGTERM, grace_s: float = TERM_GRACE_S) -> int:
        """Send a signal, then SIGKILL after ``grace_s`` seconds. Return the exit status."""
        self.signal(number)
        if not self.has_ended_in(Limit(grace_s)):
            self.kill()
        return self._exit_status()

    def kill(self) -> int:
        """Send SIGKILL to the program and its group. Return the exit status."""
        if self._pidfd is not None:
            self._reap()
        return self._exit_status()

    def _close_pidfd(self) -> None:
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
