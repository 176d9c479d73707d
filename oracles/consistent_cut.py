"""Check that a snapshot that was taken under load has the contents of one moment.

A write takes effect at one moment between its request and its reply. A snapshot is taken at one
moment, the cut, between its own request and reply. So each sector of the snapshot limits the cut:

    it holds write w             the cut is not before w was sent
    and not w', sent after w     the cut is not after w' was answered
    was answered

Either there is a moment within all limits, or two of them contradict each other. Then the snapshot
holds a write, and lacks another that was answered before the first one was sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from oracles.damage import Content, Damage, What
from oracles.finding import SECTOR, Finding, Findings
from oracles.linearizability import INITIAL, NEVER, Access

ZEROES = -1
"""Value of a sector that wrongly holds zeroes."""
_BEFORE = float("-inf")


class Bound(NamedTuple):
    """A limit of the cut: a time, the sentence that says why, and the sector that shows it.

    ``sector`` and ``lacks`` (the number of an answered write that is not there) are None where the
    cut's own request or answer is the limit.
    """

    at: float
    why: str
    sector: int | None = None
    lacks: int | None = None


class Cut(NamedTuple):
    """The contents of a snapshot, and the times of its request and reply.

    ``values`` are, by sector, the numbers of the writes that it holds, `INITIAL`, `ZEROES`, or None
    for a sector that is not judged.
    """

    asked: float
    answered: float
    values: Sequence[int | None]


def contradictions(cut: Cut, accesses: Iterable[Access]) -> Findings:
    """Return what contradicts a single moment; no finding means that there is one.

    :param accesses: all writes to the volume; reads are ignored.
    """
    writes: dict[int, list[Access]] = defaultdict(list)
    for access in accesses:
        if access.is_write:
            writes[access.sector].append(access)
    lower = Bound(cut.asked, "it was requested")
    upper = Bound(cut.answered, "it was answered")
    wrong = Findings(is_judged=any(value is not None for value in cut.values))
    for sector, value in enumerate(cut.values):
        if value is None:
            continue
        here = writes.get(sector, [])
        held = next((write for write in here if write.value == value), None)
        if held is None and value != INITIAL:
            wrong.append(_not_of_here(sector, value, here, cut.asked))
            continue
        if held is not None and held.call > lower.at:
            why = f"write #{value}, which sector {sector} of it has, was sent"
            lower = Bound(held.call, why, sector)
        sent = _BEFORE if held is None else held.returned
        for write in here:
            if write.call > sent and write.returned < upper.at:
                has = f"is as before #{write.value}" if held is None else f"has #{value}"
                text = f"write #{write.value} was answered, and is lost: sector {sector} {has}"
                upper = Bound(write.returned, text, sector, write.value)
    if lower.at > upper.at:
        wrong.append(_contradiction(lower, upper))
    return wrong


def _contradiction(lower: Bound, upper: Bound) -> Finding:
    """Describe two bounds between which there is no moment."""
    later = f"{lower.at - upper.at:g} later {lower.why}"
    own = ": is it the volume's own export?" if upper.sector is None else ""
    sector = lower.sector if upper.sector is None else upper.sector
    return Finding(
        # Where a write is not lost, the cut holds one that was sent after the cut was answered.
        Damage.LOST if upper.lacks is not None else Damage.NEWER,
        (sector or 0) * SECTOR,
        SECTOR,
        expected=None if upper.lacks is None else Content(What.WRITE, operation=upper.lacks),
        remark=f"{upper.why}; {later}{own}",
    )


def _not_of_here(sector: int, value: int, here: Sequence[Access], asked: float) -> Finding:
    place = sector * SECTOR, SECTOR
    if value != ZEROES:
        return Finding(Damage.MISDIRECTED, *place, seen=Content(What.WRITE, operation=value))
    owed = [write for write in here if write.returned < asked and write.returned != NEVER]
    last = max(owed, key=lambda write: write.returned, default=None)
    expected = Content(What.TEXT, text="the start")
    if last is not None:
        expected = Content(What.WRITE, operation=last.value)
    return Finding(Damage.ZEROED, *place, expected=expected, seen=Content(What.ZEROES))
