"""Parser for what fio prints about wrong blocks and dead processes (fio's verify.c, backend.c)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from qbdcheck.guest.fio_result import FioOutputError, VerifyFailure

# The file name may have spaces, so the line is read from both ends.
_FAILURE = re.compile(
    r"^(?:fio: )?(?P<what>.*?\S) at file (?P<file>.+)"
    r" offset (?P<offset>\d+), length (?P<length>\d+)"
    r"(?: \(requested block: offset=(?P<block>\d+), length=(?P<block_length>\d+).*\)"
    r"|, block offset (?P<within>\d+))?$"
)
_LOOKS_LIKE_ONE = re.compile(r" at file .* offset \d+")
_PREFACE = re.compile(
    r"^(?:fio: )?(?P<what>got pattern .*|bad pattern block offset .*|verify type mismatch.*"
    r"|verify header exceeds .*)$"
)
"""Lines about a block that come before the line that names it."""
_OF_THEIR_OWN = ("verify type mismatch", "verify header exceeds")
"""The prefaces that are a failure even if no block is named after them."""
_DUMP = re.compile(r"(?:received|expected|hdr_fail) data dumped as (.+)$")
_SIGNAL = re.compile(r"^fio: pid=\d+, got signal=(\d+)", re.MULTILINE)


def _follows_pattern(what: str, line: str) -> bool:
    """Return whether a line is about the wrong block before: a pattern, which has no type.

    fio before 3.41 takes the first bytes of the pattern for a header.
    """
    return what.startswith("pattern:") and line.startswith("fio: verify type mismatch")


def signals(text: str) -> tuple[int, ...]:
    """Return the signals that ended processes of fio."""
    return tuple(int(number) for number in _SIGNAL.findall(text))


def verify_failures(text: str) -> Iterator[VerifyFailure]:
    """Yield the wrong blocks that fio reports, in order.

    :raise FioOutputError: a line names a block in a form that is not known.
    """
    found: dict[str, Any] | None = None
    prefaces: list[str] = []
    for raw in text.splitlines():
        line = raw.strip()
        if match := _FAILURE.match(line):
            if found is not None:
                yield VerifyFailure(**found)
            length, whole = int(match["length"]), int(match["block_length"] or 0)
            if whole and not 0 < length <= whole:
                length = whole  # of a pattern without header, fio 3.33 prints bytes of the data
            found = {
                "file": match["file"], "offset": int(match["offset"]), "length": length,
                "what": match["what"], "dumps": (), "details": tuple(prefaces),
            }  # fmt: skip
            prefaces = []
        elif found is not None and _follows_pattern(found["what"], line):
            found["details"] = (*found["details"], line.removeprefix("fio: "))
        elif match := _PREFACE.match(line):
            prefaces.append(match["what"])
        elif found is not None and (dump := _DUMP.search(line)):
            found["dumps"] = (*found["dumps"], dump[1])
        elif "verify" in line and _LOOKS_LIKE_ONE.search(line):
            raise FioOutputError(f"verify message of fio not understood: {line!r}")
    if found is not None:
        yield VerifyFailure(**found)
    for what in prefaces:
        if what.startswith(_OF_THEIR_OWN):
            yield VerifyFailure(file="", offset=-1, length=0, what=what)
