"""Writes of a part of a sector: which one is lost, and whether its data is elsewhere on the volume.

Such data is no whole stamp, so its bytes say to which write it belongs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from oracles.damage import Damage, Difference, Operation, What
from oracles.finding import SECTOR, Finding
from oracles.stamps import Bytes

_TELLING = 16
"""Bytes that tell the data of a write from other data."""
_BY_CHANCE = 2
"""Bytes at the edge of a lost write that may be equal to the old ones."""
_DISTINCT = 8
"""Of these bytes so many must differ from one another: runs of equal bytes are everywhere."""


def as_lost_write(finding: Finding, whole: Difference) -> Finding:
    """Return a torn sector as stale where its wrong part is just that of one write.

    That write is lost. A torn write stops anywhere else.

    :param whole: the bytes of the sector, as far as they were read.
    """
    if finding.damage is not Damage.TORN or finding.part is None or finding.sectors != 1:
        return finding
    start = whole.offset - finding.sector * SECTOR
    wrong = [
        start + at
        for at, (one, two) in enumerate(zip(whole.expected, whole.seen, strict=True))
        if one != two
    ]
    for write in finding.last_writes:
        first, end = _part(write, finding)
        is_seen = finding.seen is not None and finding.seen.operation == write.number
        is_alike = 0 <= wrong[0] - first <= _BY_CHANCE and 0 <= end - 1 - wrong[-1] <= _BY_CHANCE
        if write.text != "prefill" and not is_seen and is_alike:
            return replace(finding, damage=Damage.STALE, part=(first, end))
    return finding


def with_writes_of_part(
    finding: Finding, last_writes: Callable[[int, int, int], tuple[Operation, ...]]
) -> Finding:
    """Return a finding whose writes touched the damaged part of its sector, not just the sector.

    A later write to other bytes of the sector has nothing to do with the damage.

    :param last_writes: returns the last writes to (offset, length), at most so many.
    """
    if finding.part is None or finding.sectors != 1:
        return finding
    first, end = finding.part
    count = len(finding.last_writes)
    writes = last_writes(finding.sector * SECTOR + first, end - first, count) if count else ()
    return replace(finding, last_writes=writes) if writes else finding


def place_of_part(
    finding: Finding, seen: Bytes, offset: int, expected: Callable[[int, int], Bytes]
) -> int | None:
    """Return where a lost part of a sector is instead, as the place of the finding; None: nowhere.

    :param seen: data of the volume from ``offset`` on, in bytes.
    :param expected: returns what belongs to (offset, length): equal data may be there by right.
    """
    whole, lost = finding.sector_bytes, _lost_write(finding)
    if whole is None or lost is None:
        return None
    first, end = _part(lost, finding)
    start = max(finding.sector * SECTOR + first, whole.offset)  # a read may begin in the sector
    wanted = whole.expected[start - whole.offset : finding.sector * SECTOR + end - whole.offset]
    if len(wanted) < _TELLING or len(set(wanted[:_TELLING])) < _DISTINCT:
        return None
    data = seen.tobytes()
    at = data.find(wanted)
    while at >= 0:
        place = offset + at
        if place != start and expected(place, len(wanted)).tobytes() != wanted:
            return finding.offset + place - start
        at = data.find(wanted, at + 1)
    return None


def _lost_write(finding: Finding) -> Operation | None:
    """Return the last write of a sector that it touched only in part; None for other damage."""
    last = next(iter(finding.last_writes), None)
    if last is None or last.text == "prefill" or finding.sectors != 1:
        return None
    if finding.expected is None or finding.expected.what is not What.DATA:
        return None
    return last if last.touches(finding.sector * SECTOR, SECTOR) else None


def _part(write: Operation, finding: Finding) -> tuple[int, int]:
    """Return the bytes (first, end) of the finding's sector that a write covers."""
    start = finding.sector * SECTOR
    return max(write.offset - start, 0), min(write.offset + write.length - start, SECTOR)
