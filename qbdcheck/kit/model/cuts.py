"""Take snapshots while many clients write, read them back and judge them.

Half of the volume holds data when the clients start, the other half was never written. A snapshot
must show both as they were at one moment.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np

from oracles.consistent_cut import ZEROES, Cut, contradictions
from oracles.damage import Damage
from oracles.finding import Findings, render, reported
from oracles.linearizability import INITIAL
from oracles.numbered_sectors import Mixed
from oracles.stamps import SECTOR
from qbdcheck import clock
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.model.concurrent import History, Plan, initial, seen
from qbdcheck.targets.disk import Disk, Snapshot
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag

_SHOWN = 8


@dataclass
class _Taken:
    snapshot: Snapshot
    asked: float
    answered: float


@dataclass
class Camera:
    """Takes ``count`` snapshots of a disk while its clients work.

    :ivar open_client: connects the raw client.
    """

    disk: Disk
    plan: Plan
    count: int
    open_client: Callable[[Disk], Client]
    taken: list[_Taken] = field(default_factory=list)

    @property
    def fresh(self) -> int:
        """Offset of the half that is not written at the start."""
        return self.plan.size // 2 // SECTOR * SECTOR

    def prepare(self) -> None:
        """Write the initial data of the first half, durably if the target can."""
        with self.open_client(self.disk) as client:
            client.write(0, initial(self.fresh))
            if client.flags & TransmissionFlag.SEND_FLUSH:
                client.flush()

    def meanwhile(self, wait_for: Callable[[int], None]) -> None:
        """Take the snapshots."""
        for number in range(self.count):
            wait_for(self.plan.requests)
            asked = clock.case_s() * 1e6
            snapshot = self.disk.snapshot(f"cut{number}")
            self.taken.append(_Taken(snapshot, asked, clock.case_s() * 1e6))
        wait_for(self.plan.requests)

    def judge(self, history: History) -> None:
        """Read all snapshots, and judge each.

        :raise NeverSo: a snapshot does not show the volume at one moment.
        :raise Torn: a sector holds data that was never written.
        :raise CaseBroken: no snapshot was taken while clients wrote.
        """
        under_load = 0
        for taken in self.taken:
            writes = [access for access in history.accesses if access.is_write]
            under_load += any(one.call < taken.asked for one in writes) and any(
                one.returned > taken.answered for one in writes
            )
            cut = self._cut(taken.snapshot, history.mixed, taken.asked, taken.answered)
            name = (
                f"snapshot {taken.snapshot.name} shows the volume at no single moment (times in us)"
            )
            _raise(name, contradictions(cut, history.accesses))
        now = clock.case_s() * 1e6
        last = self._cut(self.disk, history.mixed, now, now)
        name = f"volume {self.disk.name} has not the contents that its clients wrote (times in us)"
        _raise(name, contradictions(last, history.accesses))
        if not under_load:
            raise CaseBroken("no snapshot was taken while clients wrote")

    def _cut(self, disk: Disk, mixed: list[Mixed], asked: float, answered: float) -> Cut:
        with self.open_client(disk) as client:
            data = bytes(client.read(0, self.plan.size))
            again = bytes(client.read(0, self.plan.size))
        if data != again:
            text = f"two reads of {disk.name} differ"
            raise NeverSo(text, reported(Damage.CHANGING, "two reads gave different data"))
        return Cut(asked, answered, self.values(data, mixed, asked, answered))

    def values(
        self, data: bytes, mixed: list[Mixed], asked: float, answered: float
    ) -> list[int | None]:
        """Return the number of the write of each sector; zeroes: the unwritten second half."""
        rows = np.frombuffer(data, dtype=np.uint8).reshape(-1, SECTOR)
        empty = ~rows.any(axis=1)
        filled = rows.copy()
        filled[empty] = np.frombuffer(initial(SECTOR), dtype=np.uint8)
        found = list(seen(filled.tobytes(), 0, mixed, asked, answered))
        for sector in np.flatnonzero(empty).tolist():
            found[sector] = INITIAL if sector * SECTOR >= self.fresh else ZEROES
        return found


class NeverSo(AssertionError):  # noqa: N818  # the verdict on a target
    """A volume or a snapshot was at no moment what it is; ``findings`` say why."""

    def __init__(self, text: str, findings: Findings) -> None:
        super().__init__(f"{text}:\n{render(findings, _SHOWN)}")
        self.findings = Findings(replace(finding, request=text) for finding in findings)


def _raise(text: str, wrong: Findings) -> None:
    if wrong:
        raise NeverSo(text, wrong)
