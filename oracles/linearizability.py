"""Linearizability of reads and writes of sectors, in near-linear time.

A history is right if for each request there is one moment between its call and its return at which
it took effect on its sectors. Each write of a sector writes a unique value (its stamp), so this is
decided without a search (Gibbons and Korach, "Testing Shared Memories", SIAM J. Comput. 26, 1997,
section 5): all requests that have one value in a sector, its write and its reads, form a cluster;
let f be the first return in it, and s the last call. Two clusters A and B contradict each other if
fA < sB and fB < sA: A must be before B and B before A. Nothing else can be wrong, except a
read that returns before its write is called, or a read of a value that was never written.

Times may be of any unit; calls and returns that are equal count as concurrent.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
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
        verb = "writes" if self.is_write else "reads"
        return f"client {self.client} {verb} #{self.value} (request {self.request})"


@dataclass(frozen=True)
class Anomaly:
    """Requests that contradict one another. ``cycle`` has as few of them as possible."""

    sector: int
    text: str
    cycle: tuple[Access, ...]

    @property
    def finding(self) -> Finding:
        """What is wrong, with the requests as evidence."""
        start = min((one.call for one in self.cycle if one.call != _BEFORE), default=0.0)
        evidence = tuple(
            f"{_time(access.call - start)} to {_time(access.returned - start)}: {access}"
            for access in self.cycle
        )
        return Finding(
            Damage.NOT_LINEARIZABLE,
            self.sector * SECTOR,
            SECTOR,
            remark=self.text,
            evidence=tuple(filter(None, [self.plain])) + evidence,
            life=self._life(start),
        )

    @property
    def plain(self) -> str:
        """What happened, in plain words, where a read returned an older value; else empty."""
        for read in self.cycle:
            if read.is_write:
                continue
            old = next(
                (one for one in self.cycle if one.is_write and one.value == read.value), None
            )
            for other in self.cycle:
                newer = other.value != read.value and other.returned < read.call
                if newer and (old is None or other.call > old.call):
                    return _stale(read, other)
        return ""

    def _life(self, start: float) -> tuple[Moment, ...]:
        """Return the requests as moments in the order of their ends; times are microseconds."""
        ordered = sorted(self.cycle, key=lambda one: min(one.returned, one.call + 1e12))
        return tuple(
            Moment(
                "prefill" if one.call == _BEFORE else "write" if one.is_write else "read",
                number=one.value,
                offset=self.sector * SECTOR,
                length=SECTOR,
                at_s=None if one.returned in (NEVER, _BEFORE) else (one.returned - start) / 1e6,
                lane="" if one.call == _BEFORE else f"client {one.client}",
                is_certain=one.returned != NEVER,
                text=f"request {one.request}, {_time(one.call - start)} to"
                f" {_time(one.returned - start)}",
            )
            for one in ordered
        )

    def __str__(self) -> str:
        found = self.finding
        lines = [f"sector {self.sector}: {self.text}", *(f"  {one}" for one in found.evidence)]
        return "\n".join(lines)


def _stale(read: Access, newer: Access) -> str:
    what = "the contents from before the case" if read.value == INITIAL else f"#{read.value}"
    known = f"client {newer.client} had read the newer #{newer.value}"
    if newer.is_write:
        known = f"the newer write #{newer.value} of client {newer.client} was acknowledged"
    return (
        f"stale read: client {read.client} read {what} (request {read.request}),"
        f" which it sent after {known}"
    )


def _time(value: float) -> str:
    return "never" if value == NEVER else "before all" if value == _BEFORE else f"{value:g}"


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
    return _contradiction(sector, clusters)


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
        f"#{a} must be before #{b}, for it was there before the latter's last request began,"
        f" and #{b} before #{a} for the same reason"
    )
    return Anomaly(sector, text, tuple(sorted(cycle, key=lambda access: access.call)))
