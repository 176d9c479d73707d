"""The simulated cluster: three nodes, clients, network, disks and clocks in one process.

Everything follows from the schedule, so a failing schedule fails again. Times are in seconds of a
simulated clock, and a run takes some milliseconds of a real one.
"""

from __future__ import annotations

import heapq
import struct
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

from oracles.cluster_history import TORN, Flush, History, judge
from oracles.damage import Damage
from oracles.finding import Finding, Findings
from oracles.linearizability import NEVER, Access
from qbdcheck.kit.cluster.schedule import CLIENTS, FAULTS, GRANULES, SECTORS, Schedule, Step
from qbdcheck.kit.cluster.simulated_parts import Links, SimulatedClock, SimulatedDisk
from qbdcheck.seed import Seed
from reference_backend.cluster import messages as m
from reference_backend.cluster.gateway import Gateway
from reference_backend.cluster.node import Node
from reference_backend.cluster.replica import Replica

_SECTOR = struct.Struct("<II")
"""A simulated sector: its value twice, so that a torn one shows."""
_DISK_BYTES = 8192
_SCRUB_S = 4.0
"""The time in which the replicas must be equal after the last request."""
_LAST_S = 60.0
_EVENTS_MAX = 15_000
"""Some times what a schedule needs: a cluster that floods its network is stopped there."""


@dataclass
class Build:
    """The classes of a cluster; a mutant replaces one."""

    node: type[Node] = Node
    replica: type[Replica] = Replica
    gateway: type[Gateway] = Gateway


@dataclass
class Outcome:
    """What a simulated schedule did.

    :ivar happened: how often each fault did something. :ivar trace: who led when.
    """

    findings: Findings
    happened: Counter[str]
    requests: int
    events: int
    trace: list[str]


@dataclass
class _Place:
    """One node: its machine, and its process while it runs."""

    disk: SimulatedDisk
    clock: SimulatedClock
    node: Node | None = None
    start: int = 0
    paused: list[tuple[int, m.Message]] | None = None
    was_doubtful: bool = True
    down: int = 0


@dataclass
class _Call:
    """A request of a client."""

    step: Step
    value: int
    call: float
    returned: float = NEVER
    seen: bytes | None = None
    is_last: bool = False


@dataclass
class _Client:
    gateway: Gateway
    calls: dict[int, _Call] = field(default_factory=dict)


class Simulation:
    """One run of a schedule.

    :param build: the classes to run.
    """

    def __init__(self, schedule: Schedule, build: Build = Build()) -> None:  # noqa: B008  # unchanged
        random = Seed(schedule.seed).stream("cluster")
        self._schedule = schedule
        self._build = build
        self.time = 0.0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._order = 0
        self._links = Links(random)
        self._random = random
        self._places = {
            one: _Place(SimulatedDisk(_DISK_BYTES, random), SimulatedClock(random))
            for one in m.NODES
        }
        self._clients = {
            10 + one: _Client(build.gateway(10 + one, one % 3 + 1)) for one in range(CLIENTS)
        }
        self._calls: list[_Call] = []
        self._losses: list[float] = []
        self.happened: Counter[str] = Counter()
        self._leaders: dict[int, int] = {}
        self._trace: list[str] = []
        self._healed = 0.0
        self._waiting = [step for step in schedule.steps if step.after]
        """Steps whose event has not come yet."""

    def run(self) -> Outcome:
        """Run the schedule, heal, read everything, and judge."""
        for one in m.NODES:
            self._start(one)
            self._at(self._random.uniform(0, m.TICK_S), partial(self._tick_node, one))
        for one in self._clients:
            self._at(self._random.uniform(0, m.TICK_S), partial(self._tick_client, one))
        for step in self._schedule.steps:
            self._healed = max(self._healed, step.at + step.lasts)
            if not step.after:
                self._at(step.at, partial(self._do, step))
        self._at(self._healed + 0.01, self._read_everything)
        events = self._loop(self._is_over)
        settled = self.time + _SCRUB_S
        while self.time < min(settled, _LAST_S) and self._scrub():
            events += self._loop(self._after(self.time + 2 * m.TICK_S))
        self.happened.update({"lost": sum(one.disk.lost for one in self._places.values()),
                              "torn": sum(one.disk.torn for one in self._places.values()),
                              "dropped": self._links.dropped, "doubled": self._links.doubled,
                              "delayed": self._links.delayed})  # fmt: skip
        return Outcome(self._judge(), self.happened, len(self._calls), events, self._trace)

    # Time

    def _at(self, time: float, action: Callable[[], None]) -> None:
        self._order += 1
        heapq.heappush(self._heap, (time, self._order, action))

    def _after(self, time: float) -> Callable[[], bool]:
        return lambda: self.time >= time

    def _loop(self, is_over: Callable[[], bool]) -> int:
        events = 0
        while self._heap and self.time < _LAST_S and not is_over():
            self.time, _, action = heapq.heappop(self._heap)
            action()
            events += 1
            if events > _EVENTS_MAX:
                self.time = _LAST_S
        return events

    def _is_over(self) -> bool:
        if self.time < self._healed + 0.02:
            return False
        return not any(number for client in self._clients.values() for number in client.calls)

    # Nodes and messages

    def _start(self, one: int) -> None:
        place = self._places[one]
        granule_bytes = SECTORS * _SECTOR.size
        place.start = int(self.time * 1e6) + 1
        replica = self._build.replica(place.disk, GRANULES, granule_bytes, place.start)
        place.node = self._build.node(one, replica, place.clock.monotonic(self.time))
        place.node.wall = lambda: place.clock.wall
        self._happens("start", one)

    def _tick_node(self, one: int) -> None:
        place = self._places[one]
        self._at(self.time + m.TICK_S, lambda: self._tick_node(one))
        if place.node is not None and place.paused is None:
            place.node.tick(place.clock.monotonic(self.time))
            self._post(one, place.node.outbox)

    def _tick_client(self, one: int) -> None:
        client = self._clients[one]
        self._at(self.time + m.TICK_S, lambda: self._tick_client(one))
        client.gateway.tick(self.time)
        self._after_gateway(one, client)

    def _post(self, sender: int, outbox: list[tuple[int, m.Message]]) -> None:
        for receiver, message in outbox:
            self._note_event(sender, receiver, message)
            for delay in self._links.delays(sender, receiver):
                self._at(self.time + delay, partial(self._deliver, sender, receiver, message))
        outbox.clear()

    def _deliver(self, sender: int, receiver: int, message: m.Message) -> None:
        client = self._clients.get(receiver)
        if client is not None:
            client.gateway.receive(message, self.time)
            self._after_gateway(receiver, client)
            return
        place = self._places[receiver]
        if place.node is None:
            return
        if place.paused is not None:
            place.paused.append((sender, message))
            return
        place.node.receive(sender, message, place.clock.monotonic(self.time))
        self._note_leader(receiver, place.node)
        self._post(receiver, place.node.outbox)

    def _note_leader(self, one: int, node: Node) -> None:
        if node.leader is not None and self._leaders.get(one) != node.epoch:
            self._leaders[one] = node.epoch
            self.happened["election"] += 1
            self._trace.append(f"{self.time:.3f} s: node {one} leads epoch {node.epoch}")
            self._happens("lead", one)

    def _after_gateway(self, one: int, client: _Client) -> None:
        for number, data in client.gateway.done:
            call = client.calls.pop(number)
            if data is not None:
                call.returned, call.seen = self.time, data
            elif call.step.what == "read":
                call.seen = None
        client.gateway.done.clear()
        self._post(one, client.gateway.outbox)

    def _note_event(self, sender: int, receiver: int, message: m.Message) -> None:
        if not self._waiting:
            return
        if isinstance(message, m.Ask | m.Vote):
            self._happens("stand" if isinstance(message, m.Ask) else "vote", sender)
        elif isinstance(message, m.Reply):
            client = self._clients[receiver]
            call = client.calls.get(message.number)
            if call is not None and message.client == client.gateway.client:
                events = {"write": "written", "flush": "flushed"}
                self._happens(events.get(call.step.what, ""), sender)

    # Steps

    def _happens(self, event: str, actor: int) -> None:
        """Begin the steps that wait for an event."""
        if not self._waiting:
            return
        due = [one for one in self._waiting if one.after == event and one.at <= self.time]
        for step in due:
            self._waiting.remove(step)
            at = self.time + step.late
            changed = step._replace(at=at, after="", node=_after(actor, step.node))
            if step.what in FAULTS:
                changed = changed._replace(who=_after(actor, step.who), node=0)
                self._healed = max(self._healed, at + step.lasts)
            self._at(at, partial(self._do, changed))

    def _do(self, step: Step) -> None:
        if step.what not in FAULTS:
            self._begin(step)
            return
        self._trace.append(f"{step}")
        if step.what in {"kill", "cut", "room", "wipe"}:
            self._take_down(step)
        elif step.what == "pause":
            place = self._places[step.who]
            if place.node is not None and place.paused is None:
                self.happened["pause"] += 1
                place.paused = []
                self._at(self.time + step.lasts, lambda: self._resume(step.who))
        elif step.what == "client":
            self._replace_client(step.who - 1)
        elif step.what == "clock":
            self.happened["clock"] += 1
            self._places[step.who].clock.step += 20 * (step.amount - 0.5)
        else:
            self._links.active.append(step)
            self.happened[step.what] += 1
            self._at(self.time + step.lasts, lambda: self._links.active.remove(step))

    def _begin(self, step: Step, is_last: bool = False) -> None:
        client = self._clients[10 + step.who]
        call = _Call(step, len(self._calls) + 1, self.time, is_last=is_last)
        self._calls.append(call)
        granule, start = divmod(step.sector, SECTORS)
        data = _SECTOR.pack(call.value, call.value) * step.length if step.what == "write" else b""
        if step.node:
            client.gateway.node = step.node
        elif step.who:  # two clients ask their own node first: they find two leaders, if there are
            client.gateway.node = step.who + 1
        number = client.gateway.submit(step.what, self.time, granule, start * _SECTOR.size, data)
        client.calls[number] = call
        self._after_gateway(10 + step.who, client)

    def _replace_client(self, place: int) -> None:
        """Let a client die: nobody repeats its requests, and their outcome stays unknown."""
        client = self._clients[10 + place]
        self.happened["client"] += 1
        number = client.gateway.client + CLIENTS
        client.gateway = self._build.gateway(number, client.gateway.node)
        client.calls.clear()

    def _take_down(self, step: Step) -> None:
        for one in m.NODES if step.what == "room" else (step.who,):
            place = self._places[one]
            if place.node is None:
                continue
            self.happened[step.what] += 1
            is_cut = step.what != "kill"
            place.was_doubtful = place.node.replica.meta.is_doubtful or is_cut
            place.node, place.paused = None, None
            if is_cut:
                others = (self._is_doubtful(other) for other in m.NODES if other != one)
                if any(others):
                    self._losses.append(self.time)
                place.disk.cut()
            if step.what == "wipe":
                place.disk.wipe()
            late = self._random.uniform(0, 0.3) if step.what == "room" else 0
            self._at(self.time + step.lasts + late, partial(self._start, one))
            self._healed = max(self._healed, self.time + step.lasts + late)

    def _is_doubtful(self, one: int) -> bool:
        place = self._places[one]
        return place.was_doubtful if place.node is None else place.node.replica.meta.is_doubtful

    def _resume(self, one: int) -> None:
        place = self._places[one]
        messages, place.paused = place.paused or [], None
        for sender, message in messages:
            self._deliver(sender, one, message)

    def _read_everything(self) -> None:
        if self.time < self._healed:
            self._at(self._healed + 0.01, self._read_everything)
            return
        self._waiting.clear()
        for client in range(CLIENTS):
            for granule in range(GRANULES):
                step = Step(self.time, "read", client, granule * SECTORS, SECTORS)
                self._begin(step, is_last=True)
            self._begin(Step(self.time, "flush", client), is_last=True)

    # Judgement

    def _judge(self) -> Findings:
        accesses: list[Access] = []
        flushes = []
        late: list[Finding] = []
        for call in self._calls:
            if call.step.what == "flush" and call.returned != NEVER:
                flushes.append(Flush(call.call, call.returned))
            elif call.step.what != "flush":
                accesses += _accesses(call)
            if call.is_last and call.returned > call.call + m.FAILOVER_S:
                text = (f"{call.step.what} by client {call.step.who} was not served within"
                        f" {m.FAILOVER_S} s after everything healed")  # fmt: skip
                late.append(Finding(Damage.HANG, remark=text))
        stuck = [
            call for client in self._clients.values() for call in client.calls.values()
            if self.time > call.call + m.REQUEST_LIMIT_S + 1
        ]  # fmt: skip
        late += [Finding(Damage.HANG, remark=f"{call.step} hangs") for call in stuck]
        found = judge(History(accesses, flushes, self._losses))
        found += [*self._scrub(), *late[:1]]
        return found

    def _scrub(self) -> list[Finding]:
        """Compare the replicas; the one with the most newest granules is right."""
        replicas = {one: place.node.replica for one, place in self._places.items() if place.node}
        found = []
        for granule in range(GRANULES):
            records = {one: replica.get(granule) for one, replica in replicas.items()}
            best = max(records, key=lambda one: records[one].version)
            for one, record in records.items():
                if record == records[best]:
                    continue
                is_older = record.version < records[best].version
                text = (f"the replica of node {one} has version {record.version} of granule"
                        f" {granule}, node {best} has {records[best].version}")  # fmt: skip
                damage = Damage.STALE if is_older else Damage.TORN
                found.append(Finding(damage, granule * SECTORS * 512, SECTORS * 512, remark=text))
        return found


def _after(node: int, count: int) -> int:
    """Return the node that many places after another one."""
    return (node - 1 + count) % len(m.NODES) + 1


def _accesses(call: _Call) -> list[Access]:
    step = call.step
    if step.what == "write":
        values: Sequence[int] = [call.value] * step.length
    elif call.seen is None:
        return []
    else:
        start = step.sector % SECTORS
        pairs = list(_SECTOR.iter_unpack(call.seen))[start : start + step.length]
        values = [one if one == other else TORN for one, other in pairs]
    return [
        Access(step.sector + place, step.what == "write", value, call.call, call.returned,
               step.who, call.value)
        for place, value in enumerate(values)
    ]  # fmt: skip


def simulate(schedule: Schedule, build: Build = Build()) -> Outcome:  # noqa: B008  # unchanged
    """Run one schedule on a cluster of these classes."""
    return Simulation(schedule, build).run()
