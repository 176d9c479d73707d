"""Which part of its writes a failure shows to be lost: only the beginnings, or only the ends.

What is in the place of a lost part depends on what was there before, so one bug that loses the ends
of writes shows several kinds of damage.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

from oracles.damage import Operation
from oracles.finding import Finding
from qbdcheck.report.page_damage import is_wrong_read
from qbdcheck.report.page_place import damaged_range

FIRST, LAST = "first", "last"
_TITLES = {
    FIRST: "the first part of acknowledged writes is not there",
    LAST: "the last part of acknowledged writes is not there",
}
_WHOLE = "whole"
_BY_CHANCE = 2
"""Bytes at an edge of a lost part that may be equal to those that were there before."""


def lost_part(findings: Sequence[Finding]) -> str:
    """Return `FIRST` or `LAST` if only that part of each damaged write is not there; else "".

    A write that is lost as a whole fits both, but does not show them.
    """
    own = [one for one in findings if not one.follows and not one.damage.rank and one.length]
    if any(one.moved or one.found_at is not None or is_wrong_read(one) for one in own):
        return ""
    lasts = [next(iter(one.last_writes), None) for one in own]
    writes = {one.number: one for one in lasts if one is not None and one.text.startswith("write")}
    if any(one is None or one.number not in writes for one in lasts):
        return ""
    parts = {_part_of(write, own) for write in writes.values()} - {_WHOLE}
    found = parts.pop() if len(parts) == 1 else ""
    return found if found in _TITLES else ""


def title_of_part(part: str, ended: str | None) -> str:
    """Return what failures have in common that show the same part of writes to be lost.

    :param ended: how the server ended before all of the damage; None if it did not in each.
    """
    return f"{_TITLES[part]}, {ended}" if ended else _TITLES[part]


def shared_part(failures: Iterable[Sequence[Finding]]) -> str:
    """Return the part of writes that each of some failures shows to be lost; "" without one."""
    parts = {lost_part(findings) for findings in failures}
    return parts.pop() if len(parts) == 1 else ""


def _part_of(write: Operation, findings: Sequence[Finding]) -> str:
    """Return which part of a write is damaged; "" for another part, or for several."""
    end = write.offset + write.length
    ranges = sorted(
        (max(low, write.offset), min(high, end))
        for one in findings
        for low, high in [damaged_range(one)]
        if one.last_writes[0].number == write.number
    )
    ranges = [(low, high) for low, high in ranges if low < high]
    if not ranges or any(high < low for (_, high), (low, _) in pairwise(ranges)):
        return ""
    has_first = ranges[0][0] <= write.offset + _BY_CHANCE
    has_last = ranges[-1][1] >= end - _BY_CHANCE
    if has_first and has_last:
        return _WHOLE
    return FIRST if has_first else LAST if has_last else ""
