"""One displaced write explains several findings: what is missing, and what it has overwritten.

A write that goes to the wrong place damages two ranges. Where it belongs, older data is left. Where
it went, parts of sectors do not fit, in ways that look like other kinds of damage. `explained`
marks all findings in these two ranges as consequences of the write.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

from oracles.damage import Damage, What
from oracles.finding import SECTOR, Finding, Findings

_DISTANCES = 2
"""More distances than these are only counted."""
_SHOWN = 4
"""Numbers of writes that a summary names."""


class _Displaced(NamedTuple):
    """A write that went elsewhere: its range in bytes, and by how much it was moved."""

    number: int
    offset: int
    length: int
    moved: int

    @property
    def text(self) -> str:
        return f"data of write #{self.number} is {_away(self.moved)}"

    def explains(self, finding: Finding) -> bool:
        """Return whether a finding lies where the write is missing, or where it went."""
        if _is_of(finding, self.number):
            return False
        wrote = any(write.number == self.number for write in finding.last_writes)
        owed = finding.expected is not None and finding.expected.operation == self.number
        at_home = _within(finding, self.offset, self.length) and (wrote or owed)
        return at_home or _within(finding, self.offset + self.moved, self.length)


def explained(findings: Iterable[Finding]) -> Findings:
    """Return findings; those that follow from a displaced write name it, and come last."""
    about = findings.about if isinstance(findings, Findings) else ""
    judged = findings.is_judged if isinstance(findings, Findings) else True
    found = list(findings)
    displaced = _displaced(found)
    found = [
        one if (cause := _cause(one, displaced)) is None else replace(one, follows=cause.text)
        for one in found
    ]
    return Findings(sorted(found, key=lambda one: bool(one.follows)), is_judged=judged, about=about)


def summary(findings: Sequence[Finding]) -> str:
    """Return whose data is at a wrong place, and how much follows from that; "" without any."""
    moves: dict[int, list[int]] = {}
    for one in findings:
        if (number := _number(one)) is not None and one.moved:
            known = moves.setdefault(one.moved, [])
            if number not in known:
                known.append(number)
    if not moves:
        return ""
    parts = []
    if len(moves) > _DISTANCES:
        every = list(dict.fromkeys(number for numbers in moves.values() for number in numbers))
        shown = ", ".join(f"#{number}" for number in every[:_SHOWN])
        more = ", ..." if len(every) > _SHOWN else ""
        parts.append(
            f"data of {len(every)} writes ({shown}{more}) is at wrong places, at"
            f" {len(moves)} different distances"
        )
        moves = {}
    for moved, numbers in moves.items():
        more = ", ..." if len(numbers) > _SHOWN else ""
        named = ", ".join(f"#{number}" for number in numbers[:_SHOWN])
        head = f"write {named}" if len(numbers) == 1 else f"{len(numbers)} writes ({named}{more})"
        parts.append(f"data of {head} is {_away(moved)}")
    follow = sum(bool(one.follows) for one in findings)
    rest = f"; {follow} of {len(findings)} findings follow from that" if follow else ""
    return f"{' and '.join(parts)}{rest}"


def _displaced(findings: Sequence[Finding]) -> list[_Displaced]:
    ranges = _ranges(findings)
    found = {}
    for one in findings:
        number = _number(one)
        if number is not None and number in ranges and one.moved:
            found[number] = _Displaced(number, *ranges[number], one.moved)
    return list(found.values())


def _number(finding: Finding) -> int | None:
    """Return the number of the write that a finding shows at a wrong place; None for others."""
    seen = finding.seen
    is_known = seen is not None and seen.what in (What.STAMP, What.WRITE) and seen.operation
    if finding.damage is not Damage.MISDIRECTED or not is_known:
        return None
    assert seen is not None
    return seen.operation


def _is_of(finding: Finding, number: int) -> bool:
    return _number(finding) == number


def _ranges(findings: Sequence[Finding]) -> Mapping[int, tuple[int, int]]:
    """Return offset and length of the writes that the findings know, by their numbers."""
    found = {}
    for one in findings:
        for moment in one.life:
            if moment.kind == "write" and moment.number:
                found[moment.number] = moment.offset, moment.length
        for write in one.last_writes:
            if write.number and write.text == "write":
                found[write.number] = write.offset, write.length
    return found


def _cause(finding: Finding, displaced: Sequence[_Displaced]) -> _Displaced | None:
    if finding.damage.rank or _number(finding) in {one.number for one in displaced}:
        return None
    return next((one for one in displaced if one.explains(finding)), None)


def _within(finding: Finding, offset: int, length: int) -> bool:
    """Return whether a finding lies in the sectors of a range."""
    first = offset // SECTOR * SECTOR
    end = -(-(offset + length) // SECTOR) * SECTOR
    return first <= finding.offset and finding.offset + finding.length <= end


def _away(moved: int) -> str:
    distance, way = abs(moved), "too high" if moved > 0 else "too low"
    if distance % SECTOR:
        return f"{distance} bytes {way}"
    count = distance // SECTOR
    return f"{count} sector{'s' if count > 1 else ''} {way}"
