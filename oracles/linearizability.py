"""Linearizability of reads and writes of sectors, in near-linear time.

A history is right if for each request there is one moment between its call and its return at which
it took effect on its sectors. Each write of a sector writes a unique value (its stamp), so this is
decided without a search (Gibbons and Korach, "Testing Shared Memories", SIAM J. Comput. 26, 1997,
section 5): all requests that have one value in a sector, its write and its reads, form a cluster;
let f be the first return in it, and s the last call. Two clusters A and B contradict each other if
fA < sB and fB < sA: A must be before B and B before A. Nothing else can be wrong, except a
read that returns before its write is called, or a read of a value that was never written.

Times are microseconds; calls and returns that are equal count as concurrent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

from oracles.damage import Damage
from oracles.finding import SECTOR, Finding, Findings
from oracles.life import Moment

INITIAL = 0
"""The value of every sector before the first write."""
NEVER = float("inf")
"""Return time of a request with an unknown outcome: it may take effect at any time, or never."""
_BEFORE = float("-inf")
STALE = ", returned an old value"
"""Ends the text of the moment of a read that returned an old value."""


class Access(NamedTuple):
    """The part of one request that concerns one sector.

    ``value`` is the number of the write whose data the sector has. A read that failed is left out;
    a write that failed or had no reply returns at `NEVER`.
    """

    sector: int
    is_write: bool
    value: int
    call: float
    returned: float
    client: int
    request: int

    def __str__(self) -> str:
        if self.call == _BEFORE:
            return "the initial contents"
        verb = "writes" if self.is_write else "reads"
        what = f"#{self.value}" if self.value != INITIAL else "the initial contents"
        return f"client {self.client} {verb} {what} (request {self.request})"


@dataclass(frozen=True)
class Anomaly:
    """Requests that contradict one another. ``cycle`` has as few of them as possible.

    :ivar text: the proof.
    :ivar writes: the writes of the values in the cycle, whether they are in it or not.
    :ivar reads: the reads of these values, all of them.
    """

    sector: int
    text: str
    cycle: tuple[Access, ...]
    writes: tuple[Access, ...] = ()
    reads: tuple[Access, ...] = ()

    @property
    def finding(self) -> Finding:
        """What is wrong, with the requests as evidence."""
        requests = tuple(map(_line, self._told))
        plain = self.plain
        return Finding(
            Damage.LOST if self.is_lost else Damage.NOT_LINEARIZABLE,
            self.sector * SECTOR,
            SECTOR,
            remark=plain or self.text,
            evidence=(*requests, *([f"proof: {self.text}"] if plain else [])),
            life=self._life(),
        )

    @property
    def plain(self) -> str:
        """What happened, in plain words, where a read returned an older value; else empty."""
        found = self._stale()
        return "" if found is None else self._sentence(*found)

    @property
    def stale(self) -> Access | None:
        """The read that returned an older value; None if no single read is to blame."""
        found = self._stale()
        return None if found is None else found[0]

    @property
    def is_lost(self) -> bool:
        """Whether a write that was acknowledged is in no read, and an older one is there at last.

        Otherwise a cache may have served the old value while the new one was stored.
        """
        found = self._stale()
        if found is None:
            return False
        read, newer, _ = found
        is_known = any(one.value == newer.value for one in self.reads)
        last = [one.value for one in self.reads if not one.client]  # after all requests
        return not is_known and read.value in last

    @property
    def _told(self) -> tuple[Access, ...]:
        """The requests that explain the anomaly: the cycle, and the writes of what was read."""
        chosen = dict.fromkeys((*self.cycle, *self.writes))
        return tuple(sorted(chosen, key=lambda one: (one.call, one.returned)))

    def _stale(self) -> tuple[Access, Access, Access] | None:
        """Return (a read of an old value, the newer write, the request that had shown it)."""
        told = self._told
        writes = {one.value: one for one in told if one.is_write}
        for known in told:
            newer = writes.get(known.value)
            for read in told:
                old = writes.get(read.value)
                if read.is_write or newer is None or old is None or newer is old:
                    continue
                if old.returned < newer.call and known.returned < read.call:
                    return read, newer, known
        return None

    def _sentence(self, read: Access, newer: Access, known: Access) -> str:
        """Return one sentence on a read of an old value."""
        old = "the contents from before the case"
        if read.value != INITIAL:
            writer = next(one for one in self._told if one.is_write and one.value == read.value)
            old = f"the older write {_number(writer)}"
        if newer.returned < read.call:
            happened = f"was acknowledged at {_time(newer.returned)}"
        else:
            happened = (
                f"was read by client {known.client} (request {known.request}) at"
                f" {_time(known.returned)}"
            )
        then = "then " if read.client == newer.client else ""
        since = min(newer.returned, known.returned)
        return (
            f"write {_number(newer)} of client {newer.client} {happened};"
            f" {_lasting(read.call - since)} later, client {read.client} {then}read {old}"
            f", by request {read.request} at {_time(read.call)}; {self._seen(read, newer)}"
        )

    def _seen(self, read: Access, newer: Access) -> str:
        """Return whether other reads returned the newer write: the difference from a lost one."""
        saw = [one for one in self.reads if one.value == newer.value]
        if not saw:
            if self.is_lost:
                return f"no read ever returned #{newer.value}, nor does one at the end: it is lost"
            return (
                f"no read ever returned #{newer.value}: it was lost, or nobody read it before the"
                " next write"
            )
        first = min(saw, key=_returned)
        when = "at the same time"
        if first.returned < read.call:
            when = "before"
        elif first.call > read.returned:
            when = "later"
        return (
            f"#{newer.value} is not lost: client {first.client} read it {when}"
            f" (request {first.request})"
        )

    def _life(self) -> tuple[Moment, ...]:
        """Return the requests as moments in the order of their ends; times are microseconds."""
        stale = self.stale
        ordered = sorted(self._told, key=lambda one: min(one.returned, one.call + 1e12))
        return tuple(
            Moment(
                "prefill" if one.call == _BEFORE else "write" if one.is_write else "read",
                number=one.value,
                offset=self.sector * SECTOR,
                length=SECTOR,
                at_s=None if one.returned in (NEVER, _BEFORE) else one.returned / 1e6,
                lane="" if one.call == _BEFORE else f"client {one.client}",
                is_certain=one.returned != NEVER,
                text=("" if one.call == _BEFORE else f"request {one.request}, sent at"
                      f" {_time(one.call)}{STALE if one is stale else ''}"),
            )
            for one in ordered
        )  # fmt: skip

    def __str__(self) -> str:
        found = self.finding
        lines = [f"sector {self.sector}: {found.remark}", *(f"  {one}" for one in found.evidence)]
        return "\n".join(lines)


def _line(access: Access) -> str:
    """Return a request with its times in words."""
    if access.call == _BEFORE:
        return "before the case: the initial contents"
    end = "no reply" if access.returned == NEVER else f"to {_time(access.returned)}"
    return f"{_time(access.call)} {end}: {access}"


def _number(write: Access) -> str:
    """Return ``#7``, with the number of its request where that is another."""
    request = "" if write.request == write.value else f" (request {write.request})"
    return f"#{write.value}{request}"


def _time(microseconds: float) -> str:
    return f"{microseconds / 1e6:.6f} s"


def _lasting(microseconds: float) -> str:
    """Return a duration as people say it."""
    if microseconds < 1000:
        return f"{microseconds:.0f} us"
    if microseconds < 1e6:
        return f"{microseconds / 1e3:.3g} ms"
    return f"{microseconds / 1e6:.3g} s"


class _Cluster(NamedTuple):
    first_return: float
    last_call: float
    finisher: Access
    starter: Access


def check(history: Iterable[Access]) -> list[Anomaly]:
    """Return what is wrong with a history: at most one anomaly of each sector, in their order.

    :raise ValueError: two writes of a sector write the same value.
    """
    sectors: dict[int, list[Access]] = defaultdict(list)
    for access in history:
        sectors[access.sector].append(access)
    found = (_check_sector(sector, sectors[sector]) for sector in sorted(sectors))
    return [anomaly for anomaly in found if anomaly is not None]


def findings_of(anomalies: Iterable[Anomaly]) -> Findings:
    """Return what is wrong in each of them."""
    return Findings(anomaly.finding for anomaly in anomalies)


def _check_sector(sector: int, accesses: Sequence[Access]) -> Anomaly | None:
    writes: dict[int, Access] = {}
    reads: dict[int, list[Access]] = defaultdict(list)
    for access in accesses:
        if not access.is_write:
            reads[access.value].append(access)
        elif writes.setdefault(access.value, access) is not access:
            raise ValueError(f"sector {sector}: two writes of #{access.value}")
    clusters: list[_Cluster] = []
    for value, seen in reads.items():
        write = writes.get(value)
        if value == INITIAL and write is None:
            write = Access(sector, True, INITIAL, _BEFORE, _BEFORE, 0, 0)
        if write is None:
            text = f"#{value} was read, but was never written"
            return Anomaly(sector, text, (seen[0],))
        early = min(seen, key=_returned)
        if early.returned < write.call:
            return Anomaly(sector, "a value was read before it was written", (early, write))
        clusters.append(_cluster([write, *seen]))
    for value, write in writes.items():
        # A write that was never read and may not have happened contradicts nothing.
        if value not in reads and write.returned != NEVER:
            clusters.append(_cluster([write]))
    if INITIAL not in reads and INITIAL not in writes:
        clusters.append(_cluster([Access(sector, True, INITIAL, _BEFORE, _BEFORE, 0, 0)]))
    anomaly = _contradiction(sector, clusters)
    if anomaly is None:
        return None
    values = {one.value for one in anomaly.cycle}
    initial = Access(sector, True, INITIAL, _BEFORE, _BEFORE, 0, 0)
    return replace(
        anomaly,
        writes=tuple(writes.get(value, initial) for value in sorted(values)),
        reads=tuple(one for value in sorted(values) for one in reads.get(value, ())),
    )


def _returned(access: Access) -> float:
    return access.returned


def _cluster(accesses: Sequence[Access]) -> _Cluster:
    first = last = accesses[0]
    for access in accesses:
        if access.returned < first.returned:
            first = access
        if access.call > last.call:
            last = access
    return _Cluster(first.returned, last.call, first, last)


def _contradiction(sector: int, clusters: Sequence[_Cluster]) -> Anomaly | None:
    """Find two clusters each of which must be before the other.

    A cluster with f < s occupies [f, s]; two of these may not overlap. A cluster with s <= f fits
    unless [s, f] is within the [f, s] of another one.
    """
    forward = sorted(one for one in clusters if one.first_return < one.last_call)
    for one, other in pairwise(forward):
        if other.first_return < one.last_call:
            return _anomaly(sector, one, other)
    starts = [one.first_return for one in forward]
    for one in clusters:
        if one.first_return >= one.last_call:
            at = bisect_left(starts, one.last_call) - 1
            if at >= 0 and one.first_return < forward[at].last_call:
                return _anomaly(sector, forward[at], one)
    return None


def _anomaly(sector: int, one: _Cluster, other: _Cluster) -> Anomaly:
    a, b = one.finisher.value, other.finisher.value
    cycle = dict.fromkeys((one.finisher, other.starter, other.finisher, one.starter))
    text = (
        f"#{a} was there before the last request of #{b} began, and #{b} was there before the last"
        f" request of #{a} began: one of them came back after the other had replaced it"
    )
    return Anomaly(sector, text, tuple(sorted(cycle, key=lambda access: access.call)))
