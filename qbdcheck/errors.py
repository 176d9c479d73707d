"""Errors of the runner.

QbdcheckError
├── UsageError          a flag, number, group, file or profile is wrong: one line, exit code 2
│   └── SetupError      something that the run needs is missing or does not start: exit code 2
│       ├── NotReadyError    the server of the target does not start
│       └── TooSlowError     a command of the target did not end in time
├── NotRun              this case cannot run here; has all reasons
├── CaseBroken          the case cannot be trusted (verdict BROKEN)
└── ProgramError        a program of the case failed, timed out or died; has its output
"""

from __future__ import annotations

from collections.abc import Sequence


class QbdcheckError(Exception):
    """Root of the errors of the runner."""


class UsageError(QbdcheckError):
    """Wrong input: the message has one line with the error, its place, and how to fix it."""


class SetupError(UsageError):
    """The run cannot start: a program is missing, a target does not start, a disk is full."""


class NotReadyError(SetupError):
    """The server of the target did not start, or did not become ready in time."""


class TooSlowError(SetupError):
    """A command of the target's profile did not end within its time limit."""


class NotRun(QbdcheckError):  # noqa: N818  # a verdict, not an error
    """The case or fixture cannot run here.

    :param reasons: one sentence for each missing thing; never empty.
    """

    def __init__(self, *reasons: str) -> None:
        super().__init__("; ".join(reasons))
        self.reasons: Sequence[str] = reasons


class CaseBroken(QbdcheckError):  # noqa: N818  # a verdict
    """The case cannot be trusted: its fault did not fire, its oracle saw no operation."""


class ProgramError(QbdcheckError):
    """A program of a case failed, timed out or died.

    Attributes: ``argv``, ``returncode`` (None: timed out; negative: died by that signal),
    ``stdout``, ``stderr``, ``timed_out``: whether a time limit was exceeded, and ``at_work``:
    whether the program was at work all the time until then.
    """

    def __init__(
        self,
        message: str,
        argv: Sequence[str],
        returncode: int | None,
        stdout: str = "",
        stderr: str = "",
        *,
        timed_out: bool = False,
        at_work: bool = False,
    ) -> None:
        super().__init__(message)
        self.argv = list(argv)
        self.returncode = returncode
        self.stdout = stdout
        self.stderr = stderr
        self.timed_out = timed_out
        self.at_work = at_work
