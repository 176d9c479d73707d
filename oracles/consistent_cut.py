"""Is a snapshot that was taken under load the contents at one moment?

A write takes effect at one moment between its request and its answer, a snapshot at one moment, the
cut, between its own. So each sector of the snapshot bounds the cut:

    it holds write w             the cut is not before w was sent
    and not w', sent after w     the cut is not after w' was answered
    was answered

All bounds together leave a moment, or two of them contradict each other: then the snapshot holds a
write, and lacks another that was answered before the first one was sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from oracles.linearizability import INITIAL, NEVER, Access

ZEROES = -1
"""Value of a sector that holds zeroes and must not."""
_BEFORE = float("-inf")


class Bound(NamedTuple):
    """A limit of the cut: a time, and the sentence that says why."""

    at: float
    why: str


class Cut(NamedTuple):
    """What a snapshot was, and when: asked for and answered, in the times of the accesses.

    ``values`` are, by sector, the numbers of the writes that it holds, `INITIAL`, `ZEROES`, or None
    for a sector that is not judged.
    """

    asked: float
    answered: float
    values: Sequence[int | None]


def contradictions(cut: Cut, accesses: Iterable[Access]) -> list[str]:
    """Return what cannot be, as sentences; an empty list means that it was so at one moment.

    :param accesses: all writes to the volume, and reads, which do not matter here.
    """
    writes: dict[int, list[Access]] = defaultdict(list)
    for access in accesses:
        if access.is_write:
            writes[access.sector].append(access)
    lower = Bound(cut.asked, "it was asked for")
    upper = Bound(cut.answered, "it was answered")
    wrong = []
    for sector, value in enumerate(cut.values):
        if value is None:
            continue
        here = writes.get(sector, [])
        held = next((write for write in here if write.value == value), None)
        if held is None and value != INITIAL:
            wrong.append(_not_of_here(sector, value, here, cut.asked))
            continue
        if held is not None and held.call > lower.at:
            lower = Bound(held.call, f"write #{value}, which sector {sector} of it has, was sent")
        sent = _BEFORE if held is None else held.returned
        for write in here:
            if write.call > sent and write.returned < upper.at:
                has = f"is as before #{write.value}" if held is None else f"has #{value}"
                text = f"write #{write.value} was answered, and is lost: sector {sector} {has}"
                upper = Bound(write.returned, text)
    if lower.at > upper.at:
        later = f"{lower.at - upper.at:g} later {lower.why}"
        own = ": is it the volume's own export?" if upper.at == cut.answered else ""
        wrong.append(f"{upper.why}; {later}{own}")
    return wrong


def _not_of_here(sector: int, value: int, here: Sequence[Access], asked: float) -> str:
    if value != ZEROES:
        return f"sector {sector} has write #{value}, which was not written there"
    owed = [write for write in here if write.returned < asked and write.returned != NEVER]
    last = max(owed, key=lambda write: write.returned, default=None)
    return f"sector {sector} is zeroed, expected {f'write #{last.value}' if last else 'the start'}"
