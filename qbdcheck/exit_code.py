"""The exit codes of ./check and all its subcommands."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes. ``./check -- COMMAND`` passes on the exit code of the command instead."""

    GREEN = 0
    """All cases passed, or did not run for a stated reason."""
    RED = 1
    """A case failed or was broken."""
    USAGE = 2
    """Wrong usage or configuration, a set-up error, or no case was run."""
    INTERRUPTED = 130
    """A signal interrupted the run, or the reader of the output exited."""
