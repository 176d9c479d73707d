"""Programs that go into the background by themselves."""

from __future__ import annotations

import contextlib
import os
import select
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals

from qbdcheck.programs.process import TERM_GRACE_S, Process, kill_group, tail


class Daemon:
    """A program that went into the background; same calls as `Process` as far as servers need them.

    It is in a session of its own, and neither its parent's death nor its group reaches it: what is
    left of it at the end of a case is found by the runner, which is the reaper of its orphans.

    :param pid: of the daemon.
    :param starter: the program that started it and has ended; has its output.
    """

    def __init__(self, pid: int, starter: Process) -> None:
        self.pid = pid
        self.argv = starter.argv
        self._starter = starter
        try:
            self._pidfd: int | None = os.pidfd_open(pid)
        except ProcessLookupError:
            self._pidfd = None

    @property
    def returncode(self) -> int | None:
        """None while it runs, then 0: how a stranger ended nobody is told."""
        return 0 if self.has_ended_within(0) else None

    @property
    def is_running(self) -> bool:
        """Whether it has not ended yet."""
        return not self.has_ended_within(0)

    def output(self) -> str:
        """What it said before it went into the background."""
        return self._starter.output()

    def describe(self) -> str:
        """Say what it said last, on one line."""
        said = tail(self.output())
        how = f"{Path(self.argv[0]).name} {'is running' if self.is_running else 'has ended'}"
        return f"{how}: {said}" if said else f"{how} without a word"

    def has_ended_within(self, timeout_s: float) -> bool:
        """Wait up to ``timeout_s`` seconds for its end; say whether it came."""
        if self._pidfd is None:
            return True
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        if not poll.poll(max(0.0, timeout_s) * 1000):
            return False
        self._reap()
        return True

    def signal(self, number: Signals) -> None:
        """Send a signal to the daemon itself, not to what it started."""
        if self.is_running:
            os.kill(self.pid, number)

    def stop(self, number: Signals = SIGTERM, grace_s: float = TERM_GRACE_S) -> int:
        """End it politely, and by SIGKILL after ``grace_s`` seconds."""
        self.signal(number)
        if not self.has_ended_within(grace_s):
            self.kill()
        return 0

    def kill(self) -> int:
        """SIGKILL it and its group."""
        if self.is_running:
            self._reap()
        return 0

    def _reap(self) -> None:
        """End its group, which is its own where it made a session, and collect it if it is ours."""
        if self._pidfd is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if os.getpgid(self.pid) not in {os.getpgid(0), self._starter.pid}:
                kill_group(os.getpgid(self.pid), SIGKILL)
            else:
                os.kill(self.pid, SIGKILL)
        select.select([self._pidfd], [], [], TERM_GRACE_S)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(self.pid, os.WNOHANG)
        os.close(self._pidfd)
        self._pidfd = None
