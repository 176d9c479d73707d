"""Judge the history of a replicated volume: sectors that many clients wrote through faults.

A sector is right if its history is linearizable (`oracles.linearizability`), where a request that
failed may take effect at any time. A power cut may take back what was not flushed. It does so only
where it leaves no copy: the simulation or the case gives these moments as ``losses``. Then two
rules hold: each read sees at least what was flushed before the last loss, or was written after it;
and the history between two losses is linearizable from one of the values that the first one left.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import NamedTuple

from oracles.damage import Damage
from oracles.finding import SECTOR, Finding, Findings
from oracles.linearizability import INITIAL, NEVER, Access, check

TORN = -1
"""The value of a sector that is not whole."""
_START = float("-inf")


class Flush(NamedTuple):
    """A flush that succeeded."""

    call: float
    returned: float


@dataclass(frozen=True)
class History:
    """What the clients saw.

    :ivar accesses: as in `oracles.linearizability`; a read of a torn sector has the value `TORN`.
    :ivar losses: times at which unflushed data may have been lost, in order.
    """

    accesses: Sequence[Access]
    flushes: Sequence[Flush] = ()
    losses: Sequence[float] = ()


def judge(history: History) -> Findings:
    """Return what is wrong, at most one finding of each sector."""
    sectors: dict[int, list[Access]] = defaultdict(list)
    for access in history.accesses:
        sectors[access.sector].append(access)
    found = (_Sector(sector, sectors[sector], history).finding() for sector in sorted(sectors))
    reads = sum(not access.is_write for access in history.accesses)
    return Findings((one for one in found if one is not None), is_judged=reads > 0)


class _Sector:
    """The requests of one sector."""

    def __init__(self, sector: int, accesses: Sequence[Access], history: History) -> None:
        self._sector = sector
        self._accesses = accesses
        self._history = history
        self._writes = {access.value: access for access in accesses if access.is_write}
        self._writes.setdefault(INITIAL, Access(sector, True, INITIAL, _START, _START, 0, 0))
        self._reads = sorted((a for a in accesses if not a.is_write), key=lambda read: read.call)

    def finding(self) -> Finding | None:
        """Return what is wrong; the most telling kind of damage."""
        return self._torn() or self._unknown() or self._outdated() or self._not_linearizable()

    def _torn(self) -> Finding | None:
        for read in self._reads:
            if read.value == TORN:
                return self._made(Damage.TORN, f"{read} a mixture of two writes", (read,))
        return None

    def _unknown(self) -> Finding | None:
        for read in self._reads:
            if read.value not in self._writes:
                return self._made(Damage.UNKNOWN, f"{read}, which nobody wrote", (read,))
        return None

    def _outdated(self) -> Finding | None:
        """Find a read that misses an acknowledged write; it is lost if no later read sees it."""
        for place, read in enumerate(self._reads):
            missed = self._missed_by(read)
            if missed is None:
                continue
            is_back = any(
                later.call > read.returned and self._missed_by(later) is None
                for later in self._reads[place + 1 :]
            )
            source = self._writes[read.value]
            damage = Damage.STALE if is_back else Damage.LOST
            what = "is stale" if is_back else "is lost"
            text = (
                f"the acknowledged write #{missed.value} {what}: client {read.client} reads"
                f" #{read.value}"
            )
            return self._made(damage, text, (source, missed, read))
        return None

    def _missed_by(self, read: Access) -> Access | None:
        """Return the last acknowledged write between the one that a read saw and the read."""
        source = self._writes[read.value]
        missed = [
            write
            for write in self._writes.values()
            if source.returned < write.call
            and write.returned < read.call
            and self._is_binding(write, read)
        ]
        return max(missed, key=lambda write: write.call, default=None)

    def _is_binding(self, write: Access, read: Access) -> bool:
        """Return whether no loss between them can have taken the write back."""
        return all(
            any(write.returned <= one.call and one.returned <= loss for one in self._flushes())
            for loss in self._history.losses
            if write.call < loss <= read.returned
        )

    def _flushes(self) -> Iterable[Flush]:
        return self._history.flushes

    def _not_linearizable(self) -> Finding | None:
        for start, end in pairwise((_START, *self._history.losses, NEVER)):
            accesses, carried = self._era(start, end)
            if len(carried) > 1:
                text = f"#{' and #'.join(map(str, sorted(carried)))} were both read after a loss"
                reads = tuple(a for a in self._reads if a.value in carried and start < a.call)
                return self._made(Damage.NOT_LINEARIZABLE, text, reads[:4])
            for anomaly in check(accesses):
                return self._made(Damage.NOT_LINEARIZABLE, anomaly.text, anomaly.cycle)
        return None

    def _era(self, start: float, end: float) -> tuple[list[Access], set[int]]:
        """Return the requests between two losses, and the earlier values that they read.

        A write that one of the losses interrupts may take effect on either side, or be taken back.
        """
        found: list[Access] = []
        carried: set[int] = set()
        for access in self._accesses:
            if access.is_write and access.call < end and access.returned > start:
                is_whole = start < access.call and access.returned < end
                found.append(access if is_whole else access._replace(returned=NEVER))
            elif not access.is_write and start < access.call and access.returned < end:
                if self._writes[access.value].returned <= start:
                    carried.add(access.value)
                    access = access._replace(value=INITIAL)  # noqa: PLW2901
                found.append(access)
        return found, carried

    def _made(self, damage: Damage, text: str, requests: Sequence[Access]) -> Finding:
        evidence = tuple(
            f"{request.call:.3f} s to {request.returned:.3f} s: {request}"
            for request in requests
            if request.request
        )
        return Finding(
            damage, self._sector * SECTOR, SECTOR, remark=text, evidence=evidence,
            request=f"request {requests[-1].request}",
        )  # fmt: skip
