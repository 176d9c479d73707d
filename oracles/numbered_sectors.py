"""Sectors filled with the number of their write: what a sector shows that has not one number.

Each word of 8 bytes has `MAGIC` in its high half, and in its low half the number of the write, or
`INITIAL`. So a sector shows which write it holds, which parts are of another write, and which bits
changed; and a number says to which sectors it was sent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from oracles.damage import Confidence, Content, Damage, Difference, Operation, What
from oracles.finding import READ_WAS_WRONG, SECTOR, SHOWN, Finding
from oracles.linearizability import INITIAL, NEVER, Access, Anomaly
from oracles.sector_damage import judge_flip

MAGIC = 0x71626468 << 32
"""High half of each word ("qbdh")."""
WORDS = SECTOR // 8
_FOLLOWS = "data of a write at a wrong place"
_LOW = 0xFFFFFFFF


@dataclass(frozen=True)
class Mixed:
    """A read of a sector that has not the number of one write throughout.

    Parts of several writes are allowed while one of them is in flight: NBD promises nothing for
    overlapping requests, and Linux's buffered reads are not atomic with respect to writes.

    :ivar values: the numbers in it; () where a word has no number at all.
    :ivar call: microseconds, as is ``returned``. :ivar data: the bytes; empty if not kept.
    """

    sector: int
    values: tuple[int, ...]
    call: float
    returned: float
    data: bytes = field(default=b"", compare=False)
    client: int = field(default=0, compare=False)
    request: int = field(default=0, compare=False)

    def is_allowed(self, writes: Mapping[tuple[int, int], Access]) -> bool:
        """Return whether it has parts of writes of this sector only, one of them in flight.

        :param writes: by their sector and number.
        """
        parts = [writes.get((self.sector, value)) for value in self.values]
        known = all(
            part or value == INITIAL for part, value in zip(parts, self.values, strict=True)
        )
        return known and any(
            part and part.call <= self.returned and part.returned >= self.call for part in parts
        )


def finding_of(one: Mixed, written: Collection[int] = ()) -> Finding:
    """Return what is wrong with a sector.

    :param written: numbers of the writes of this sector.
    """
    place = one.sector * SECTOR
    told = f"holds parts of several writes: {', '.join(f'#{value}' for value in one.values)}"
    request = f"read of client {one.client} (request {one.request})" if one.client else ""
    words = np.frombuffer(one.data, dtype="<u8")
    sound = words[words >> np.uint64(32) == MAGIC >> 32]
    if not len(sound):
        damage = Damage.UNKNOWN if one.data.strip(b"\0") else Damage.ZEROED
        if one.values:
            damage = Damage.TORN
        elif len(words):
            told = f"holds data that was never written: {words[0]:#018x} ..."
        return Finding(damage, place, SECTOR, remark=told, request=request)
    numbers, counts = np.unique(sound, return_counts=True)
    most = numbers[int(np.argmax(counts))]
    wanted = np.full(WORDS, most, dtype="<u8").tobytes()
    found = judge_flip(one.data, wanted, 0) or Finding(Damage.UNKNOWN)
    first = next(at for at in range(SECTOR) if one.data[at] != wanted[at])
    shown = slice(first, first + SHOWN)
    found = replace(
        found,
        offset=place,
        length=SECTOR,
        expected=_content(int(most) & _LOW),
        request=request,
        difference=Difference(place + first, wanted[shown], one.data[shown]),
        sector_bytes=Difference(place, wanted, one.data),
    )
    if found.damage is Damage.BIT_FLIP and found.count == 1:
        # A tear would have to be one word wide, between two numbers that differ in this bit.
        is_torn = len(one.values) > 1 and set(one.values) <= {INITIAL, *written}
        return replace(found, confidence=Confidence.LIKELY) if is_torn else found
    if one.values:
        return replace(found, damage=Damage.TORN, remark=told)
    return replace(found, remark=f"holds data that was never written: {words[0]:#018x} ...")


def _content(number: int) -> Content:
    if number == INITIAL:
        return Content(What.TEXT, text="the initial contents")
    return Content(What.WRITE, operation=number)


def strange(mixed: Sequence[Mixed], accesses: Iterable[Access]) -> list[Finding]:
    """Return what is wrong in the sectors of reads that hold neither one write nor allowed parts.

    A later read of the sector tells whether the stored data is wrong or only that read.
    """
    if not mixed:
        return []
    accesses = list(accesses)
    writes = {(one.sector, one.value): one for one in accesses if one.is_write}
    found: dict[tuple[int, bytes], tuple[Mixed, Finding]] = {}
    for one in mixed:
        if not one.is_allowed(writes):
            written = {value for sector, value in writes if sector == one.sector}
            key = one.sector, one.data
            finding = finding_of(one, written)
            found.setdefault(key, (one, replace(finding, last_writes=_write(finding, accesses))))
    return [
        replace(finding, evidence=_later(one, finding.expected, mixed, accesses))
        for one, finding in found.values()
    ]


def _write(finding: Finding, accesses: Iterable[Access]) -> tuple[Operation, ...]:
    """Return the write of which most of a sector is; () if it is not known."""
    number = finding.expected.operation if finding.expected else None
    sectors = [one.sector for one in accesses if one.is_write and one.value == number]
    if not number or not sectors:
        return ()
    first, count = min(sectors), max(sectors) + 1 - min(sectors)
    return (Operation(number, first * SECTOR, count * SECTOR, "write"),)


def _later(
    one: Mixed, one_write: Content | None, mixed: Sequence[Mixed], accesses: Sequence[Access]
) -> tuple[str, ...]:
    """Return what later reads of the sector show, before it was written again; () without one.

    :param one_write: of which most of it is.
    """
    if not one.data:
        return ()
    again = [
        each.call
        for each in accesses
        if each.is_write and each.sector == one.sector and each.returned > one.call
    ]
    until = min(again, default=NEVER)
    same = [
        each
        for each in mixed
        if each.sector == one.sector and each.data == one.data and each.call >= one.returned
    ]
    if same:
        return (f"read again {_by(same[0])}: the same bytes, so the stored data is wrong",)
    number = INITIAL if one_write is None else one_write.operation or INITIAL
    for each in accesses:
        is_later = each.sector == one.sector and not each.is_write and each.call >= one.returned
        if is_later and each.value == number and each.returned <= until:
            return (f"read again {_by(each)}: the data is right, {READ_WAS_WRONG}",)
    return ()


def _by(one: Mixed | Access) -> str:
    return f"by client {one.client} (request {one.request})" if one.client else "at the end"


def displaced(accesses: Iterable[Access]) -> list[Finding]:
    """Return the writes whose numbers were read in sectors to which they were not sent."""
    homes: dict[int, list[Access]] = defaultdict(list)
    reads: dict[int, list[Access]] = defaultdict(list)
    for one in accesses:
        (homes if one.is_write else reads)[one.value].append(one)
    found = []
    for value, seen in reads.items():
        sent = sorted({one.sector for one in homes.get(value, ())})
        away = sorted({one.sector for one in seen} - set(sent))
        if sent and away:
            first = next(one for one in seen if one.sector == away[0])
            at_home = any(one.sector in sent for one in seen)
            found.append(_displaced(homes[value][0], sent, away, first, at_home=at_home))
    return sorted(found, key=lambda one: one.offset)


def beside(moved: Sequence[Finding], anomalies: Iterable[Anomaly]) -> list[Finding]:
    """Return the findings of anomalies; those of displaced writes and their places follow.

    :param moved: what `displaced` found.
    """
    places = {sector for one in moved for sector in range(one.sector, one.sector + one.sectors)}
    numbers = {one.seen.operation for one in moved if one.seen}
    found = []
    for one in anomalies:
        if one.sector in places and not one.writes:
            continue  # only the number that was not sent there
        follows = one.sector in places or any(each.value in numbers for each in one.writes)
        found.append(replace(one.finding, follows=_FOLLOWS) if follows else one.finding)
    return found


def _displaced(
    write: Access, sent: Sequence[int], away: Sequence[int], read: Access, *, at_home: bool
) -> Finding:
    """Return the finding of one displaced write.

    :param sent: sectors that it was sent to. :param away: others that were read with its number.
    :param read: one of these reads. :param at_home: a read found the number also where it belongs.
    """
    end = next((at for at in range(away[0], away[-1] + 2) if at not in away), away[-1] + 1)
    moved = (away[0] - sent[0]) * SECTOR if away[-1] - away[0] == sent[-1] - sent[0] else None
    also = "; a part of it is also where it belongs" if at_home else ""
    remark = (
        f"misdirected: {_sectors(away[0], end - 1)} {'has' if end - away[0] == 1 else 'have'}"
        f" write #{write.value} of client {write.client}, which was sent to"
        f" {_sectors(sent[0], sent[-1])}{also}"
    )
    return Finding(
        Damage.MISDIRECTED,
        away[0] * SECTOR,
        (end - away[0]) * SECTOR,
        seen=Content(What.WRITE, operation=write.value),
        moved=moved,
        request=f"read of client {read.client} (request {read.request})" if read.client else "",
        remark=remark,
    )


def _sectors(first: int, last: int) -> str:
    return f"sector {first}" if first == last else f"sectors {first} to {last}"
