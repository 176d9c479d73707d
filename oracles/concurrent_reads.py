"""What was in flight with a wrong read of a history, and what its sector went through before.

The picture and the sentences are the evidence that tells a write at a wrong place from a read whose
buffer another request had.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from oracles.damage import Damage
from oracles.finding import READ_WAS_WRONG, SECTOR, Finding
from oracles.life import DIFFERED, Moment
from oracles.linearizability import INITIAL, NEVER, Access

_READ = re.compile(r"^read of client (\d+) \(request (\d+)\)$")
STRANGE = -1
"""The value of sectors of a read that has data of no write."""
_LIVES = 3
"""Findings that get the life of their first sector."""
SAME_DATA = "returned the same data"
"""Ends the evidence that another read has returned the data of a wrong one."""
_MOMENTS = 16
_BLOCK = 8
"""Sectors of a block of 4 KiB, in which many servers read, change and write."""
_NAMED = 3
"""Requests in flight that are named; the others are counted."""
_TELLING = 4
"""Sectors of equal data that two reads need before this is reported."""


@dataclass
class _Request:
    """A request of a history: what it has of each sector, by the number of the sector."""

    client: int
    number: int
    is_write: bool
    call: float
    returned: float
    values: dict[int, int]

    @property
    def sectors(self) -> range:
        return range(min(self.values), max(self.values) + 1)

    def __str__(self) -> str:
        kind = f"write #{self.number}" if self.is_write else f"read (request {self.number})"
        first, last = self.sectors[0], self.sectors[-1]
        place = f"sectors {first} to {last}" if last > first else f"sector {first}"
        return f"{kind} of client {self.client}, {place}"


def with_lives(findings: Sequence[Finding], accesses: Iterable[Access]) -> list[Finding]:
    """Return findings; the first wrong reads have the life of their sector, and what was in flight.

    A request counts as in flight with a read if it was sent before the read's reply, and answered
    after the read was sent.
    """
    found = list(findings)
    places = [at for at, one in enumerate(found) if _READ.match(one.request) and not one.life]
    lives = [at for at, one in enumerate(found) if one.life][:_LIVES]
    if not places and not lives:
        return found
    requests = _requests(accesses)
    for at in lives:
        found[at] = _whole(found[at], requests)
    for at in places[:_LIVES]:
        match = _READ.match(found[at].request)
        assert match is not None
        read = requests.get((int(match[1]), int(match[2]), False))
        if read is not None:
            found[at] = _told(found[at], read, list(requests.values()))
    return found


def _whole(finding: Finding, requests: Mapping[tuple[int, int, bool], _Request]) -> Finding:
    """Return the finding of an anomaly with whole requests in its life, and what met its write."""
    writes = {key[1]: one for key, one in requests.items() if one.is_write}
    life = tuple(
        replace(one, offset=sent.sectors[0] * SECTOR, length=len(sent.sectors) * SECTOR)
        if one.kind == "write" and (sent := writes.get(one.number)) is not None
        else one
        for one in finding.life
    )
    last = next((writes[one.number] for one in reversed(life) if one.kind == "write"
                 and one.number in writes), None)  # fmt: skip
    lines = [] if last is None else _met(finding.sector, last, list(requests.values()))
    return replace(finding, life=life, evidence=(*finding.evidence, *lines))


def _met(sector: int, write: _Request, requests: Sequence[_Request]) -> list[str]:
    """Return which writes in the same 4 KiB were in flight with a write, or came next over it."""
    first, last = (at // _BLOCK for at in (write.sectors[0], write.sectors[-1]))
    others = [
        one
        for one in requests
        if one.is_write and one is not write and one.returned >= write.call
        and one.sectors[0] // _BLOCK <= last and first <= one.sectors[-1] // _BLOCK
        and (one.call <= write.returned or set(one.values) & set(write.values))
    ]  # fmt: skip
    if not others:
        return []
    near = sorted(others, key=lambda one: (sector not in one.values, one.call))[:_NAMED]
    named = "; ".join(
        f"{one}, {'in flight with it' if one.call <= write.returned else 'later'}" for one in near
    )
    more = f"; and {len(others) - len(near)} more" if len(others) > len(near) else ""
    return [f"near {write}: {named}{more}"]


def _requests(accesses: Iterable[Access]) -> dict[tuple[int, int, bool], _Request]:
    values: dict[tuple[int, int, bool], dict[int, int]] = defaultdict(dict)
    times = {}
    for one in accesses:
        key = one.client, one.request, one.is_write
        values[key][one.sector] = one.value
        times[key] = one.call, one.returned
    return {key: _Request(*key, *times[key], have) for key, have in values.items()}


def _told(finding: Finding, read: _Request, requests: Sequence[_Request]) -> Finding:
    lines = [*finding.evidence, *_again(finding, read, requests), *_beside(read, requests)]
    return replace(finding, evidence=tuple(lines), life=_life(finding.sector, read, requests))


def _again(finding: Finding, read: _Request, requests: Sequence[_Request]) -> list[str]:
    """Return what the next read of the sector shows, if nothing wrote the sector meanwhile."""
    sector = finding.sector
    wrong = read.values.get(sector)
    if finding.damage is not Damage.MISDIRECTED or wrong is None:
        return []
    until = min(
        (one.call for one in requests
         if one.is_write and sector in one.values and one.returned > read.call),
        default=NEVER,
    )  # fmt: skip
    later = [
        one
        for one in requests
        if not one.is_write and sector in one.values and read.returned <= one.call <= until
    ]
    if not later:
        return []
    first = min(later, key=lambda one: one.call)
    who = f"by client {first.client} (request {first.number})" if first.client else "at the end"
    if first.values[sector] == wrong:
        return [f"read again {who}: the same data, so the stored data is wrong"]
    writes = {one.number for one in requests if one.is_write and sector in one.values}
    if first.values[sector] in {INITIAL, *writes}:
        return [f"read again {who}: data that was sent to this sector, {READ_WAS_WRONG}"]
    return []


def _beside(read: _Request, requests: Sequence[_Request]) -> list[str]:
    """Return which requests were in flight with a read, and which of them returned its data."""
    together = [
        one
        for one in requests
        if one is not read and one.call <= read.returned and one.returned >= read.call
        and one.client
    ]  # fmt: skip
    lines = [
        f"{one}, which was in flight with it, {SAME_DATA}"
        for one in together
        if not one.is_write and _is_same(read, one)
    ][:1]
    near = sorted(together, key=lambda one: (one.client != read.client, abs(one.call - read.call)))
    if near:
        named = "; ".join(map(str, near[:_NAMED]))
        more = f"; and {len(near) - _NAMED} more" if len(near) > _NAMED else ""
        lines.append(f"in flight with this read of {len(read.sectors)} sectors: {named}{more}")
    return lines


def _is_same(one: _Request, other: _Request) -> bool:
    """Return whether two reads of different places have equal data from their beginnings on."""
    count = min(len(one.sectors), len(other.sectors))
    pairs = [
        (one.values.get(one.sectors[at]), other.values.get(other.sectors[at]))
        for at in range(count)
    ]
    is_equal = all(mine == its for mine, its in pairs)
    numbers = {mine for mine, _ in pairs} - {None, INITIAL, STRANGE}
    return one.sectors[0] != other.sectors[0] and count >= _TELLING and is_equal and bool(numbers)


def _life(sector: int, read: _Request, requests: Sequence[_Request]) -> tuple[Moment, ...]:
    """Return the requests to a sector before a read and with it, in the order of their ends.

    A sector that holds parts of several writes has no number in the read.
    """
    touching = [one for one in requests if sector in one.values and one.call <= read.returned]
    writes = {one.number for one in touching if one.is_write}
    before = sorted((one for one in touching if one is not read), key=lambda one: one.returned)
    return tuple(
        Moment(
            "write" if one.is_write else "read",
            number=max(value, INITIAL),
            offset=one.sectors[0] * SECTOR,
            length=len(one.sectors) * SECTOR,
            at_s=None if one.returned == NEVER else one.returned / 1e6,
            lane=f"client {one.client}",
            is_certain=one.returned != NEVER,
            text="" if one.is_write or value in {INITIAL, *writes} else DIFFERED,
        )
        for one in [*before[-_MOMENTS:], read]
        for value in [one.values.get(sector, STRANGE)]
    )
