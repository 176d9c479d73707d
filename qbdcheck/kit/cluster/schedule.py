"""Schedules of the simulated cluster: what the clients do, and what breaks when.

A schedule is a list of steps. Each fault heals after its own time, so that each part of a schedule
is a schedule, and a failing one can be shrunk.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

from oracles.shrinking import fewest
from qbdcheck.seed import Seed

if TYPE_CHECKING:
    from random import Random

CLIENTS = 3
GRANULES = 4
SECTORS = 4
"""Sectors of a granule; a request stays within one."""
FAULTS = ("kill", "cut", "room", "wipe", "pause", "partition", "one way", "bridge",
          "loss", "delay", "duplicate", "clock")  # fmt: skip
"""Kinds of faults. ``cut`` is a power cut of a node, ``room`` of all, ``wipe`` empties a store."""
_FIRST_S = 1.5
"""The cluster has a leader by then."""
_DURATION_S = 4.0


class Step(NamedTuple):
    """One request of a client, or one fault.

    :ivar at: in seconds from the start. :ivar what: ``read``, ``write``, ``flush`` or a fault.
    :ivar who: the client, or the node that the fault concerns.
    :ivar sector: of the volume, and ``length`` in sectors, for a read and a write.
    :ivar lasts: seconds until a fault heals. :ivar amount: of the loss, delay or clock step.
    """

    at: float
    what: str
    who: int
    sector: int = 0
    length: int = 0
    lasts: float = 0.0
    amount: float = 0.0

    def __str__(self) -> str:
        if self.what in FAULTS:
            return f"{self.at:.3f} s: {self.what} of node {self.who} for {self.lasts:.2f} s"
        return f"{self.at:.3f} s: client {self.who}: {self.what} {self.sector}+{self.length}"


class Schedule(NamedTuple):
    """Steps in the order of time; the seed decides about each message and each torn write."""

    seed: int
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        return "\n".join([f"schedule of seed {self.seed}:", *(f"  {one}" for one in self.steps)])

    def to_json(self) -> str:
        """Return the schedule as JSON, for a replay."""
        return json.dumps([self.seed, self.steps])

    @classmethod
    def from_json(cls, text: str) -> Schedule:
        """Return the schedule that `to_json` encoded."""
        seed, steps = json.loads(text)
        return cls(seed, tuple(Step(*one) for one in steps))


def generate(seed: int, kinds: Sequence[str] = FAULTS, requests: int = 70) -> Schedule:
    """Return the schedule of a seed: two to five faults of these kinds, and requests near them.

    What breaks a cluster is a fault during the repair of another one, and a request just then. So
    a fault begins near an earlier one, and most requests come in bursts near a fault.
    """
    random = Seed(seed).stream("cluster schedule")
    faults = _faults(random, kinds)
    bursts = [fault.at + random.uniform(0, fault.lasts + 0.6) for fault in faults for _ in range(2)]
    steps = list(faults)
    for _ in range(requests):
        at = random.uniform(_FIRST_S, _FIRST_S + _DURATION_S)
        if random.random() < 0.7:
            at = random.choice(bursts) + random.uniform(0, 0.12)
        what = random.choices(("read", "write", "flush"), (5, 5, 1))[0]
        count = random.randint(1, SECTORS)
        granule = random.choice((0, 0, random.randrange(GRANULES)))
        sector = granule * SECTORS + random.randint(0, SECTORS - count)
        steps.append(Step(round(at, 4), what, random.randrange(CLIENTS), sector, count))
    return Schedule(seed, tuple(sorted(steps)))


def _faults(random: Random, kinds: Sequence[str]) -> list[Step]:
    faults: list[Step] = []
    for _ in range(random.randint(2, 5)):
        kind = random.choice(kinds)
        if kind == "wipe" and any(one.what == "wipe" for one in faults):
            continue  # two lost stores are more than three nodes can bear
        at = random.uniform(_FIRST_S + 0.1, _FIRST_S + _DURATION_S)
        if faults and random.random() < 0.7:
            other = random.choice(faults)
            at = other.at + random.choice((0, 0, other.lasts)) + random.uniform(-0.1, 0.5)
        at = round(max(_FIRST_S, at), 4)
        lasts = round(random.choice((0.1, 0.7, 1.5)) * random.uniform(0.5, 1.5), 3)
        steps = Step(at, kind, random.randint(1, 3), 0, 0, lasts, round(random.random(), 3))
        faults.append(steps)
    return faults


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return a schedule with as few steps as possible that still fails.

    :param fails: runs a schedule; returns whether it fails.
    """
    steps = fewest(list(schedule.steps), lambda some: fails(Schedule(schedule.seed, tuple(some))))
    return Schedule(schedule.seed, tuple(steps))
