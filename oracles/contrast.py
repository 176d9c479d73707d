"""Writes that are right, beside those that are damaged: what only the damaged ones share is a clue.

A check of the volume says more than what is wrong. A write is right if a check after it found the
bytes of which it was the last write, and no check found any of them wrong. Writes that change
nothing prove nothing: zeroes over zeroes, and the header of a stamp over that of an older one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from blockio.sizes import exact_size
from oracles.damage import Damage, Operation, What
from oracles.finding import DISCARDED, FROM_AFAR, SECTOR, Finding, Findings
from oracles.stamps import HEADER_BYTES, Bytes

MOST = 100
"""Right writes that a finding carries."""
_ENTRIES, _CHECKS = 6000, 400
"""The last operations and checks that count."""
_UNSURE = ("outcome unknown", "in flight with others")
"""In the texts of operations of which a right check does not prove that they are whole."""
_ZEROES = "write zeroes"
_DATA = ("write", "prefill")
_EMPTYING = ("discard", _ZEROES)
_NOBODY = -1
_LEAST_BIT = 1 << 20
"""Bytes: offsets lose bits from this one on; smaller distances are usual."""
_OWED = frozenset({
    Damage.ZEROED, Damage.STALE, Damage.NEVER_WRITTEN, Damage.LOST, Damage.TORN, Damage.SHIFTED,
    Damage.BIT_FLIP,
})  # fmt: skip
"""Kinds that say that the last write of a place is gone, or is not whole."""

Checked = tuple[int, int, int]
"""A check that found nothing wrong: the number of operations before it, offset and length."""


def with_right_writes(
    findings: Sequence[Finding],
    entries: Sequence[Operation],
    checks: Iterable[Checked],
    failed: Checked,
    unsure: Sequence[int] = (),
) -> list[Finding]:
    """Return findings, the first with the writes that are right.

    :param entries: all operations, in order.
    :param failed: the check that made the findings.
    :param unsure: its sectors that may have several contents, so that a write may be lost there.
    """
    if not findings:
        return []
    wrong = [(one.offset, one.offset + one.length) for one in findings if one.length]
    wrong += [(sector * SECTOR, (sector + 1) * SECTOR) for sector in unsure]
    right = _right(entries, [*list(checks)[-_CHECKS:], failed], wrong)
    blamed = {number for one in findings for number in _numbers(one)}
    kept = [one for one in right if one.number not in blamed and _is_sure(one)]
    first, *rest = findings
    return [replace(first, right_writes=_sample(kept, first.offset)), *rest]


def beside_discards(findings: Sequence[Finding], entries: Sequence[Operation]) -> list[Finding]:
    """Return findings; zeroed ones name a later discard, or zeroes, that may have zeroed them.

    It lies directly beside the place, so that it may have zeroed more than its range; or it begins
    a power of two away, so that its offset may have lost a bit.
    """
    told = (_beside(one, entries) or _from_afar(one, entries) for one in findings)
    return [
        replace(one, evidence=(*one.evidence, line)) if line else one
        for one, line in zip(findings, told, strict=True)
    ]


def in_zeroes(findings: Findings, wanted: Bytes, offset: int) -> Findings:
    """Return findings; the first one tells of zeroes that must be around a zeroed place.

    A server that looks for zeroes may take such a place for a part of them.

    :param wanted: what a read from ``offset`` on must return.
    """
    first = next(iter(findings), None)
    if first is None or first.damage is not Damage.ZEROED:
        return findings
    start, end = first.offset - offset, first.offset + first.length - offset
    before = np.flatnonzero(wanted[:start])
    behind = np.flatnonzero(wanted[end:])
    low = start - (int(before[-1]) + 1 if len(before) else 0)
    high = int(behind[0]) if len(behind) else len(wanted) - end
    if min(low, high) < SECTOR or low + high < first.length:
        return findings
    line = f"the {low} bytes before it and the {high} bytes behind it must be zeroes"
    told = replace(first, evidence=(*first.evidence, line))
    return Findings([told, *findings[1:]], is_judged=findings.is_judged, about=findings.about)


def _beside(finding: Finding, entries: Sequence[Operation]) -> str:
    write = next(iter(finding.last_writes), None)
    is_data = finding.expected is not None and finding.expected.what is not What.ZEROES
    if finding.damage is not Damage.ZEROED or write is None or not is_data:
        return ""
    start, end = finding.offset, finding.offset + finding.length
    for one in reversed(entries[-_ENTRIES:]):
        if one == write:
            break
        is_behind = one.offset + one.length <= start < one.offset + one.length + SECTOR
        if one.text.startswith(_EMPTYING) and (is_behind or end <= one.offset < end + SECTOR):
            side = "behind" if is_behind else "before"
            kind = "discard" if one.text.startswith("discard") else _ZEROES
            which = f"{kind} #{one.number} of {one.length} bytes at offset {one.offset}"
            after = f"write #{write.number}" if write.number else "the prefill"
            return f"{DISCARDED} {side} {which}, which came after {after}"
    return ""


def _from_afar(finding: Finding, entries: Sequence[Operation]) -> str:
    write = next(iter(finding.last_writes), None)
    is_data = finding.expected is not None and finding.expected.what is not What.ZEROES
    if finding.damage is not Damage.ZEROED or write is None or not is_data:
        return ""
    for one in reversed(entries[-_ENTRIES:]):
        if one == write:
            break
        away = abs(one.offset - finding.offset)
        is_bit = away >= _LEAST_BIT and away & (away - 1) == 0
        if one.text.startswith(_EMPTYING) and one.length >= finding.length and is_bit:
            kind = "discard" if one.text.startswith("discard") else _ZEROES
            where = "higher" if one.offset > finding.offset else "lower"
            return (
                f"{FROM_AFAR} {kind} #{one.number} of {one.length} bytes at offset {one.offset},"
                f" exactly {exact_size(away)} {where}"
            )
    return ""


def damaged_writes(findings: Sequence[Finding]) -> list[Operation]:
    """Return the writes that are lost, damaged or elsewhere, as far as findings name them.

    Where a write is at a wrong place, only such writes: other damage follows from them.
    """
    known = _ranges(findings)
    moved = [
        known[one.seen.operation]
        for one in findings
        if one.damage is Damage.MISDIRECTED and one.seen and one.seen.operation in known
    ]
    found = {id(one): write for one in findings if (write := _last_write(one)) is not None}
    moved += [found[id(one)] for one in findings if one.found_at is not None and id(one) in found]
    return moved or list(found.values())


def _ranges(findings: Sequence[Finding]) -> dict[int, Operation]:
    """Return the writes that the lives and last writes of findings have, by their numbers."""
    known = {
        one.number: Operation(one.number, one.offset, one.length, one.text or "write")
        for finding in findings
        for one in finding.life
        if one.kind == "write" and one.number
    }
    last = [write for one in findings for write in one.last_writes]
    return known | {one.number: one for one in last if one.number and one.text.startswith("write")}


def _last_write(finding: Finding) -> Operation | None:
    """Return the acknowledged write whose data is not at a place, or not whole; None without."""
    last = next(iter(finding.last_writes), None)
    is_known = finding.damage in _OWED and not finding.follows
    return last if last is not None and is_known and _is_sure(last) else None


class _Owners:
    """Which operation was the last one at each byte of the volume, in runs between edges.

    :param edges: where operations, checks and damage begin and end.
    """

    def __init__(self, entries: Sequence[Operation], edges: NDArray[np.int64]) -> None:
        self._entries = entries
        self._edges = edges
        self._owner = np.full(len(edges), _NOBODY)
        self._done = 0
        ends = [(one.offset, one.offset + one.length) for one in entries]
        self._places = np.searchsorted(edges, np.array(ends).reshape(-1, 2)).tolist()
        self.telling: set[int] = set()

    def carry_out(self, count: int) -> None:
        """Carry out the first ``count`` operations."""
        for number in range(self._done, count):
            one = self._entries[number]
            place = slice(*self._places[number])
            if self._changes(one, place):
                self.telling.add(number)
            self._owner[place] = number
        self._done = max(self._done, count)

    def of(self, start: int, end: int, without: Sequence[tuple[int, int]] = ()) -> set[int]:
        """Return who owns bytes of a range, and not only bytes of the ranges ``without``."""
        kept = np.zeros(len(self._edges), dtype=bool)
        kept[self._place(start, end)] = True
        for one in without:
            kept[self._place(*one)] = False
        return set(np.unique(self._owner[kept]).tolist()) - {_NOBODY}

    def _place(self, start: int, end: int) -> slice:
        return slice(*np.searchsorted(self._edges, (start, end)))

    def _changes(self, one: Operation, place: slice) -> bool:
        """Return whether it changes bytes, as far as the record shows it."""
        if not one.text.startswith(_ZEROES):
            return one.offset % SECTOR + one.length > HEADER_BYTES
        before = set(np.unique(self._owner[place]).tolist()) - {_NOBODY}
        texts = [self._entries[number].text for number in before]
        return any(text.startswith(_DATA) and not text.startswith(_ZEROES) for text in texts)


def _right(
    entries: Sequence[Operation], checks: Sequence[Checked], wrong: Sequence[tuple[int, int]]
) -> list[Operation]:
    """Return the operations whose bytes a check saw; those with bytes in ``wrong`` are left out.

    :param checks: in order; the last one is that which found ``wrong``.
    """
    skipped = max(len(entries) - _ENTRIES, 0)
    entries = entries[skipped:]
    ranges = [(one.offset, one.offset + one.length) for one in entries]
    ranges += [(offset, offset + length) for _, offset, length in checks]
    edges = np.unique(np.array([edge for one in (*ranges, *wrong) for edge in one]))
    owners = _Owners(entries, edges)
    right: set[int] = set()
    for count, offset, length in checks[:-1]:
        if count > skipped:
            owners.carry_out(count - skipped)
            right |= owners.of(offset, offset + length)
    owners.carry_out(len(entries))
    _, offset, length = checks[-1]
    right |= owners.of(offset, offset + length, without=wrong)
    bad = {number for one in wrong for number in owners.of(*one)}
    return [entries[number] for number in sorted(right & owners.telling - bad)]


def _numbers(finding: Finding) -> set[int]:
    """Return the numbers of the writes that a finding shows to be damaged."""
    expected = finding.expected.operation if finding.expected else None
    seen = finding.seen.operation if finding.seen else None
    found = {expected, seen if finding.damage is Damage.MISDIRECTED else None}
    return {number for number in found if number}


def _is_sure(operation: Operation) -> bool:
    """Return whether it was acknowledged, and leaves one content only."""
    text = operation.text
    is_sure = not any(words in text for words in _UNSURE)
    return operation.length > 0 and text.startswith("write") and is_sure


def _sample(right: Sequence[Operation], offset: int) -> tuple[Operation, ...]:
    """Return at most `MOST` operations: those nearest to a place, and others at equal intervals."""
    if len(right) <= MOST:
        return tuple(right)
    near = sorted(right, key=lambda one: abs(one.offset - offset))[: MOST // 2]
    rest = [one for one in right if one not in near]
    step = len(rest) / (MOST - len(near))
    spread = [rest[int(number * step)] for number in range(MOST - len(near))]
    return tuple(sorted([*near, *spread], key=lambda one: one.number))
