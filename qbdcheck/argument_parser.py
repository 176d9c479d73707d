"""The parser of all commands."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from qbdcheck import interrupts
from qbdcheck.errors import UsageError
from qbdcheck.suggestions import suggestion

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


_ELSEWHERE = {
    "--aio": "-i",
    "--cache": "-c",
    "--exclude": "-e or -x",
    "--format": "-qcow2 or another image format",
    "--groups": "-g",
    "--jobs": "-j",
    "--lf": "--last-failed",
    "--maxfail": "--stop-after",
    "--output": "--results",
    "--timings": "--durations",
    "--verbose": "--debug",
}
"""Flags of other test runners, and what they are here."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise the error instead of exiting.

        :raise UsageError: always.
        """
        raise UsageError(message)

    def parse_known_intermixed_args(self, *arguments: Any, **options: Any) -> Any:
        """Parse as argparse does. A signal waits: it would leave actions half changed."""
        with interrupts.held():
            return super().parse_known_intermixed_args(*arguments, **options)

    def unknown_flag(self, argument: str) -> str:
        """Return the message for a flag that this parser does not have."""
        word = argument.partition("=")[0]
        flags = [
            flag
            for action in self._actions
            if action.help != argparse.SUPPRESS
            for flag in action.option_strings
        ]
        hint = suggestion(word, [*flags, *_ELSEWHERE])
        meant = _ELSEWHERE.get(hint, hint)
        return f"unknown flag {word}; " + (
            f"did you mean {meant}?" if meant else f"{self.prog} --help lists all"
        )

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help. Unlike argparse, do not hide that it cannot be written."""
        (file or sys.stdout).write(self.format_help())
        sys.stdout.flush()
