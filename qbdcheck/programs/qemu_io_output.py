"""Parse the output of qemu-io (qemu-io-cmds.c: print_report, dump_buffer, the done callbacks).

A data command first prints a hex dump if one was requested. Then it prints a report of two
lines, or one line with an error. Completions of aio commands are printed when they happen, before
the result of the current command. So the last report of an output is that of the command itself.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_REPORT = re.compile(r"(wrote|read|discard) (\d+)/(\d+) bytes at offset (\d+)$")
_STATISTICS = re.compile(r"[\d.]+ \w+, \d+ ops; ")
_DUMP = re.compile(r"(?:^[0-9a-f]{8,}:  .*(?:\n|\Z))+", re.MULTILINE)
_DUMPED = re.compile(r"^[0-9a-f]{8,}:  ((?:[0-9a-f]{2} )+) ", re.MULTILINE)
_EXTENT = re.compile(r"\(0x([0-9a-f]+)\) bytes\s+(not )?allocated at offset .*\(0x([0-9a-f]+)\)$")


@dataclass(frozen=True)
class Report:
    """The result of one request. ``offset``, ``length``: bytes. ``error``: empty on success."""

    verb: str
    offset: int
    length: int
    data: bytes = b""
    error: str = ""


def parse_reports(text: str) -> list[Report]:
    """Return the reports of an output, in order of completion.

    A line that no successful command prints becomes a report with an error.
    """
    reports: list[Report] = []
    place, dump = 0, ""
    for block in _DUMP.finditer(text):  # by expressions on the whole: a dump can have 65,536 lines
        reports += _parse_ends(text[place : block.start()], dump)
        place, dump = block.end(), "".join(_DUMPED.findall(block[0]))
    return reports + _parse_ends(text[place:], dump)


def _parse_ends(text: str, dump: str) -> list[Report]:
    """Return the reports of the lines after a hex dump; the first of them says what was read."""
    reports = []
    for line in text.splitlines():
        if line.strip() and not _STATISTICS.match(line):
            reports.append(_parse_end(line, dump))
            dump = ""
    return reports


def _parse_end(line: str, dump: str) -> Report:
    match = _REPORT.match(line)
    if match is None:
        return Report("", 0, 0, error=reason_of(line))
    done, total = int(match[2]), int(match[3])
    error = "" if done == total else f"only {done} of {total} bytes done"
    return Report(match[1], int(match[4]), total, bytes.fromhex(dump), error)


def reason_of(line: str) -> str:
    """Return REASON of an error line ``write failed: REASON``, or the whole line."""
    _, separator, reason = line.rpartition(" failed: ")
    return reason.strip() if separator else line.strip()


def parse_map(text: str) -> list[tuple[int, int, bool]] | None:
    """Return (offset, length, allocated) of each line of ``map``, or None if it is not a map."""
    extents = []
    for line in text.splitlines():
        match = _EXTENT.search(line)
        if match is None:
            return None
        extents.append((int(match[3], 16), int(match[1], 16), match[2] is None))
    return extents


_FAILED = re.compile(
    r"failed|not found|cannot|[Cc]an't|[Cc]ould not|nvalid|rror|xpect|^qemu-io: ", re.MULTILINE
)
"""Words of errors; what begins with the name of the program is the error of a driver."""


def looks_failed(command: str, text: str) -> bool:
    """Return whether an output shows that its command failed."""
    verb = command.split(maxsplit=1)[0] if command.split() else ""
    if verb in {"read", "readv", "write", "writev", "discard", "aio_read", "aio_write"}:
        return any(report.error for report in parse_reports(text))
    return _FAILED.search(text) is not None
