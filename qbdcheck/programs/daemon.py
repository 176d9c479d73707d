"""Programs that go into the background by themselves."""

from __future__ import annotations

import contextlib
import os
import select
from signal import SIGKILL

from qbdcheck.programs.process import Process
from qbdcheck.programs.running import TERM_GRACE_S, RunningProgram, kill_group


class Daemon(RunningProgram):
    """A program that went into the background.

    It has a session of its own. Neither the death of its parent nor a signal to the parent's group
    reaches it. The runner is the subreaper of orphans and finds what is left at the end of a case.

    :param pid: process id of the daemon.
    :param starter: the program that started the daemon and has ended. It holds the output.
    """

    def __init__(self, pid: int, starter: Process) -> None:
        super().__init__(starter.argv, pid)
        self._starter = starter

    def output(self) -> str:
        """Return the output of the daemon before it went into the background."""
        return self._starter.output()

    def _exit_status(self) -> int:
        """Return 0: the exit status of a process that is not our child is unknown."""
        return 0

    def _describe_state(self) -> str:
        return "is running" if self.is_running else "has ended"

    def _reap(self) -> None:
        # The group is killed only if it is the daemon's own, that is if it made a session.
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
        self._close_pidfd()
