"""The parser of all commands."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from qbdcheck import interrupts
from qbdcheck.errors import UsageError

if TYPE_CHECKING:
    from _typeshed import SupportsWrite


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

    def print_help(self, file: SupportsWrite[str] | None = None) -> None:
        """Print the help. Unlike argparse, do not hide that it cannot be written."""
        (file or sys.stdout).write(self.format_help())
        sys.stdout.flush()
