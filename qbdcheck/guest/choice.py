"""Which tests of a runtest file are run: those whose names match, without those of a skip file."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qbdcheck.errors import UsageError
from qbdcheck.files import why_unreadable
from qbdcheck.guest.runtest import Entry


@dataclass(frozen=True)
class Skipped:
    """A line of a skip file: a pattern of names, and why these tests are skipped."""

    pattern: str
    reason: str


@dataclass(frozen=True)
class TestChoice:
    """The tests that --only-tests and --skip-tests leave.

    :ivar patterns: shell patterns of names, such as ``dio0*``; () for all.
    """

    __test__ = False  # for pytest

    patterns: tuple[str, ...] = ()
    skipped: tuple[Skipped, ...] = ()

    @classmethod
    def of(cls, patterns: Sequence[str], skip_file: Path | None) -> TestChoice:
        """Return the choice that the options make.

        :param skip_file: a line for each pattern, ``NAME [REASON]``; # begins a comment.
        :raise UsageError: the file cannot be read.
        """
        if skip_file is None:
            return cls(tuple(patterns))
        try:
            text = skip_file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(f"--skip-tests {skip_file}: {why_unreadable(error)}") from None
        skipped = []
        for number, line in enumerate(text.splitlines(), 1):
            pattern, _, reason = line.partition("#")[0].strip().partition(" ")
            if pattern:
                where = f"skipped by {skip_file.name}, line {number}"
                skipped.append(Skipped(pattern, ": ".join(filter(None, (where, reason.strip())))))
        return cls(tuple(patterns), tuple(skipped))

    def apply(self, entries: Iterable[Entry]) -> list[Entry]:
        """Return the entries that match, in their order; those to skip have the reason."""
        found = []
        for entry in entries:
            if self.patterns and not _matches(entry, self.patterns):
                continue
            reasons = [one.reason for one in self.skipped if _matches(entry, [one.pattern])]
            found.append(replace(entry, skip=reasons[0]) if reasons else entry)
        return found


def _matches(entry: Entry, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(entry.name, pattern) for pattern in patterns)
