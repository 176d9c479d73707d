"""Schedules of the simulated cluster: what the clients do, and what breaks when.

A schedule is a list of steps. Each fault heals after its own time, so that each part of a schedule
is a schedule, and a failing one can be shrunk.

`generate` draws the times of faults. `generate_at_events` ties them to what the cluster does: a
vote, an election, the reply to a flush. Some bugs show only if two or three faults come within
milliseconds of such an event.
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
          "loss", "delay", "duplicate", "clock", "client")  # fmt: skip
"""Kinds of faults. ``cut`` is a power cut of a node, ``room`` of all, ``wipe`` empties a store; a
``client`` dies, with its requests under way, and another one takes its place."""
EVENTS = ("stand", "vote", "lead", "start", "written", "flushed")
"""What a step can wait for: a node stands for election, votes, leads, starts, answers a write or a
flush. The node is the actor of the event."""
_LASTING = ("loss", "delay", "duplicate", "bridge")
"""Kinds that may last for a whole schedule: a bad network, in which other faults come."""
_FIRST_S = 1.5
"""The cluster has a leader by then."""
_DURATION_S = 4.0


_IN_WORDS = {"cut": "power cut", "room": "power cut", "wipe": "loss of the store"}
"""Faults whose names say too little to a reader."""


class Step(NamedTuple):
    """One request of a client, or one fault.

    :ivar at: in seconds from the start. :ivar what: ``read``, ``write``, ``flush`` or a fault.
    :ivar who: the client, or the node that the fault concerns.
    :ivar sector: of the volume, and ``length`` in sectors, for a read and a write.
    :ivar lasts: seconds until a fault heals. :ivar amount: of the loss, delay or clock step.
    :ivar after: an event: the step is done ``late`` seconds after the first one from ``at`` on. The
        node of a fault is then the ``who``-th after the actor; 0 is the actor itself.
    :ivar node: the node that a request asks first; after an event it is counted from the actor,
        which is 3. 0 is the one that the client asked last, or its own.
    """

    at: float
    what: str
    who: int
    sector: int = 0
    length: int = 0
    lasts: float = 0.0
    amount: float = 0.0
    after: str = ""
    late: float = 0.0
    node: int = 0

    def __str__(self) -> str:
        when = f"{self.at:.3f} s: "
        if self.after:
            when = f"{self.late:.3f} s after the first {self.after!r} from {self.at:.3f} s on: "
        if self.what in FAULTS:
            place = f"{'its node' if self.after else 'node'} {self.who}"
            place = "all nodes" if self.what == "room" else place
            what = _IN_WORDS.get(self.what, self.what)
            return f"{when}{what} of {place} for {self.lasts:.2f} s"
        return f"{when}client {self.who}: {self.what} {self.sector}+{self.length}"


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


def generate_at_events(seed: int, kinds: Sequence[str] = FAULTS, requests: int = 90) -> Schedule:
    """Return the schedule of a seed whose faults and requests follow what the cluster does.

    A first fault disturbs the leader; then groups of faults meet an event together, in half of the
    schedules in a bad network. Requests come densely after the events, and each node is asked by
    somebody: that shows two leaders.
    """
    random = Seed(seed).stream("cluster schedule at events")
    steps: list[Step] = []
    has_power_cuts = not {"cut", "room", "wipe"}.isdisjoint(kinds)
    lasting = [kind for kind in kinds if kind in _LASTING]
    if lasting and random.random() < 0.5:
        kind, who, amount = random.choice(lasting), random.randint(1, 3), round(random.random(), 3)
        steps.append(Step(_FIRST_S, kind, who, 0, 0, 3.0, amount))
    at = _FIRST_S
    for group in range(random.randint(2, 4)):
        event = random.choice(("written", "flushed") if group == 0 else (*EVENTS, "lead", "lead"))
        steps += _faults_after(random, kinds, event, at, any(one.what == "wipe" for one in steps))
        at += random.choice((0.0, 0.3, 0.8, 1.5)) * random.uniform(0.5, 1.5)
    events = [(one.after, one.at) for one in steps if one.after] or [("written", _FIRST_S)]
    for _ in range(requests):
        step = _request(random, random.uniform(_FIRST_S, at + 1.5))
        if random.random() < 0.7:
            after, start = random.choice(events)
            if random.random() < 0.5:
                after, start = "lead", _FIRST_S + 0.1
            late = random.choice((0.03, 0.3, 1.2)) * random.random()
            step = step._replace(at=start, after=after, late=round(late, 4),
                                 node=random.randint(1, 3))  # fmt: skip
        steps.append(step)
        if has_power_cuts and step.what == "write" and random.random() < 0.4:  # as a database does
            wait = random.uniform(0.005, 0.03)
            at_flush, late = (step.at, step.late + wait) if step.after else (step.at + wait, 0.0)
            steps.append(step._replace(what="flush", at=round(at_flush, 4), late=round(late, 4)))
    return Schedule(seed, tuple(sorted(steps)))


def _request(random: Random, at: float) -> Step:
    what = random.choices(("read", "write", "flush"), (5, 4, 1))[0]
    count = random.randint(1, SECTORS)
    granule = random.choice((0, 0, random.randrange(GRANULES)))
    sector = granule * SECTORS + random.randint(0, SECTORS - count)
    return Step(round(at, 4), what, random.randrange(CLIENTS), sector, count)


def _faults_after(
    random: Random, kinds: Sequence[str], event: str, at: float, is_wiped: bool
) -> list[Step]:
    """Return one to four faults that meet an event; at most one of them empties a store."""
    faults: list[Step] = []
    for _ in range(random.randint(1, 4)):
        kind = random.choice(kinds)
        if kind == "wipe":
            if is_wiped:
                continue
            is_wiped = True
        late = random.choice((0, 0.01, 0.05, 0.6)) * random.random()
        lasts = random.choice((0.05, 0.3, 1.2, 1.2)) * random.uniform(0.5, 1.5)
        faults.append(Step(round(at, 4), kind, random.choice((0, 0, 1, 2)), 0, 0, round(lasts, 3),
                           round(random.random(), 3), event, round(late, 4)))  # fmt: skip
    return faults


def shrink(schedule: Schedule, fails: Callable[[Schedule], bool]) -> Schedule:
    """Return a schedule with as few steps as possible that still fails.

    :param fails: runs a schedule; returns whether it fails.
    """
    steps = fewest(list(schedule.steps), lambda some: fails(Schedule(schedule.seed, tuple(some))))
    return Schedule(schedule.seed, tuple(steps))
