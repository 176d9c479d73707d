"""Histories of many clients on one volume, recorded for oracles.linearizability.

Each client is a thread with its own connection and several requests in flight. Each write fills its
sectors with its number, so a read shows for each sector which write it saw.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count
from random import Random

import numpy as np

from blockio.layers import Command, CommandFlag
from oracles.concurrent_reads import STRANGE, with_lives
from oracles.finding import Finding, Findings
from oracles.linearizability import INITIAL, NEVER, Access, Anomaly, check
from oracles.numbered_sectors import MAGIC, WORDS, Mixed, beside, displaced, finding_of, strange
from oracles.stamps import SECTOR
from qbdcheck import clock
from qbdcheck.kit.nbd_requests import describe
from qbdcheck.kit.request_errors import RequestFailed
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError, NbdProtocolError

_STEP_S = 0.0005


class Torn(AssertionError):  # noqa: N818  # the verdict on a target
    """A sector holds parts of two writes, changed bits, or data that was never written.

    ``findings`` has the sector.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = Findings(findings)
        super().__init__(f"sector {self.findings[0].sector}: {self.findings[0].text}")


@dataclass(frozen=True)
class Plan:
    """The work of the clients. Requests keep to the minimum and maximum block of the export.

    :ivar size: bytes of the volume that are used; small, so that requests meet.
    :ivar lengths: lengths of requests, in sectors.
    :ivar depth: requests in flight of each client.
    :ivar share: share of writes among the requests. ``fua``: share of FUA among the writes.
    :ivar flushes: share of flushes among the requests; none if the server does not offer FLUSH.
    """

    size: int = 32 << 10
    requests: int = 400
    depth: int = 4
    lengths: tuple[int, ...] = (1, 1, 2, 8)
    share: float = 0.4
    fua: float = 0.0
    flushes: float = 0.0


@dataclass
class History:
    """Requests of all clients, and their accesses to sectors."""

    accesses: list[Access] = field(default_factory=list)
    mixed: list[Mixed] = field(default_factory=list)
    strange: list[Access] = field(default_factory=list)
    """Of reads whose data belongs to no write: they are no part of what is judged."""
    requests: int = 0

    def anomalies(self) -> list[Anomaly]:
        """Return the anomalies of all sectors.

        :raise Torn: a read saw parts of two writes, none of them in flight at that time, or
            changed bits.
        """
        if strange(self.mixed, self.accesses):
            raise Torn(self.findings())
        return check(self.accesses)

    def findings(self) -> Findings:
        """Return what is wrong, the cause before what follows from it."""
        wrong = strange(self.mixed, self.accesses)
        moved = displaced(self.accesses)
        try:
            anomalies = check(self.accesses)
        except ValueError:  # numbers were used again: nothing can be said
            anomalies = []
        found = [*wrong, *moved, *beside(moved, anomalies)]
        return Findings(self.with_lives(found))

    def with_lives(self, found: Sequence[Finding]) -> list[Finding]:
        """Return findings with what their sectors went through, and what was in flight."""
        return with_lives(found, [*self.accesses, *self.strange])


@dataclass(frozen=True)
class _Sent:
    command: Command
    first: int
    sectors: int
    number: int
    call: float


def initial(size: int) -> bytes:
    """Return the contents of the volume before the first write."""
    return np.full(size // 8, MAGIC | INITIAL, dtype="<u8").tobytes()


def record(  # noqa: PLR0917  # the arguments of each client
    connect: Callable[[], Client],
    clients: int,
    plan: Plan,
    seed: int,
    first: int = 1,
    meanwhile: Callable[[Callable[[int], None]], None] | None = None,
) -> History:
    """Let clients work at the same time; return what they saw, with times in microseconds.

    :param first: number of the first write.
    :param meanwhile: called while they work; they work until it returns, also beyond the plan. Its
        argument is a function that waits until a number of further requests was sent.
    :raise Torn: a sector holds other data than that of a single write.
    :raise RequestFailed: the server answered a request with an error.
    """
    numbers = count(first)
    connections = [connect() for _ in range(clients)]
    start = threading.Barrier(clients)
    workers = [
        _Client(number, client, plan, Random(f"{seed}/{number}"), numbers, start)
        for number, client in enumerate(connections, 1)
    ]
    for worker in workers:
        worker.start()
    try:
        if meanwhile is not None:
            meanwhile(lambda requests: _wait_for(workers, requests))
    finally:
        for worker in workers:
            worker.may_end = True
    for worker in workers:
        worker.join()
    for client in connections:
        client.sock.close()
    history = History()
    for worker in workers:
        history.accesses += worker.accesses
        history.mixed += worker.mixed
        history.strange += worker.strange
        history.requests += worker.requests
    failures = [worker.failure for worker in workers if worker.failure is not None]
    if failures:
        raise _with_history(failures[0], history)
    return history


def _with_history(failure: BaseException, history: History) -> BaseException:
    """Return a failure with what is wrong in the data that was read until then.

    A request at a wrong place can fail, and the same bug damages data elsewhere.
    """
    if isinstance(failure, Torn | RequestFailed):
        found = history.findings()
        failure.findings = Findings([*history.with_lives(failure.findings), *found])
    return failure


def _wait_for(workers: Sequence[_Client], requests: int) -> None:
    """Wait until a number of further requests was sent, or a client has ended."""
    wanted = sum(worker.requests for worker in workers) + requests
    while sum(worker.requests for worker in workers) < wanted:
        if not all(worker.is_alive() for worker in workers):
            return  # its failure is raised later
        clock.pause(_STEP_S)


class _Client(threading.Thread):
    def __init__(  # noqa: PLR0917  # the arguments of `record`
        self,
        number: int,
        client: Client,
        plan: Plan,
        random: Random,
        numbers: count[int],
        start: threading.Barrier,
    ) -> None:
        super().__init__(daemon=True)
        self.accesses: list[Access] = []
        self.mixed: list[Mixed] = []
        self.strange: list[Access] = []
        self.requests = 0
        self.failure: BaseException | None = None
        self._number = number
        self._client = client
        client.receives_elsewhere = True
        self._plan = plan
        self._random = random
        self._numbers = numbers
        self._begin = start
        self._flight: dict[int, _Sent] = {}
        self._slots = threading.Semaphore(plan.depth)
        self._over = False
        self._sent = threading.Semaphore(0)
        self._all_sent = False
        self.may_end = False

    def run(self) -> None:
        receiver = threading.Thread(target=self._receive_all, daemon=True)
        self._begin.wait()
        receiver.start()
        try:
            while self.requests < self._plan.requests or not self.may_end:
                self._slots.acquire()
                if self._over:
                    break
                self._send()
                self._sent.release()
        except BaseException as error:
            self._end(error)
        self._all_sent = True
        self._sent.release()
        receiver.join()
        self._lose()

    def _receive_all(self) -> None:
        # In parallel with sending: a server may stop reading until its replies are received.
        try:
            received = 0
            while True:
                self._sent.acquire()
                if self._all_sent and received == self.requests:
                    break
                self._receive()
                received += 1
                self._slots.release()
        except BaseException as error:
            self._end(error)

    def _end(self, error: BaseException) -> None:
        lost = isinstance(error, OSError | EOFError | NbdProtocolError)  # the connection was cut
        if isinstance(error, NbdError) or not lost:
            self.failure = self.failure or error  # the case raises it
        self._over = True
        self._client.cut()
        self._slots.release()

    def _send(self) -> None:
        plan, random = self._plan, self._random
        self.requests += 1
        cookie = self.requests
        if random.random() < plan.flushes and self._offers(TransmissionFlag.SEND_FLUSH):
            self._flight[cookie] = _Sent(Command.FLUSH, 0, 0, 0, 0.0)
            self._client.send_request(Command.FLUSH, cookie=cookie)
            return
        sectors = min(random.choice(plan.lengths), max(self._client.longest // SECTOR, 1))
        unit = max(1, (self._client.block_sizes or (1, 1, 1))[0] // SECTOR)
        sectors = min(-(-sectors // unit) * unit, plan.size // SECTOR)
        first = random.randrange(0, plan.size // SECTOR - sectors + 1) // unit * unit
        place = first * SECTOR, sectors * SECTOR
        writes = random.random() < plan.share
        number = next(self._numbers)
        command = Command.WRITE if writes else Command.READ
        durable = writes and random.random() < plan.fua
        flags = CommandFlag.FUA if durable and self._offers(TransmissionFlag.SEND_FUA) else 0
        data = (MAGIC | number).to_bytes(8, "little") * (sectors * WORDS) if writes else b""
        self._flight[cookie] = _Sent(command, first, sectors, number, clock.case_s() * 1e6)
        self._client.send_request(command, *place, flags=flags, payload=data, cookie=cookie)

    def _offers(self, flag: TransmissionFlag) -> bool:
        return bool(self._client.flags & flag)

    def _receive(self) -> None:
        reply = self._client.receive_reply()
        returned = clock.case_s() * 1e6
        sent = self._flight.pop(reply.cookie)
        if reply.error:
            place = sent.first * SECTOR, sent.sectors * SECTOR
            if sent.command is Command.WRITE:
                self._wrote(sent, NEVER)
            request = f"client {self._number}: {describe(sent.command, *place)}"
            raise RequestFailed(request, NbdError(reply.error, reply.message))
        if sent.command is Command.WRITE:
            self._wrote(sent, returned)
        elif sent.command is Command.READ:
            times = sent.call, returned
            who = self._number, sent.number
            try:
                values = seen(reply.data, sent.first, self.mixed, *times, *who)
            except Torn:
                sectors = range(sent.first, sent.first + sent.sectors)
                self.strange += [Access(at, False, STRANGE, *times, *who) for at in sectors]
                raise
            self.accesses += [
                Access(sent.first + at, False, value, *times, self._number, sent.number)
                for at, value in enumerate(values)
                if value is not None
            ]

    def _wrote(self, sent: _Sent, returned: float) -> None:
        self.accesses += [
            Access(sector, True, sent.number, sent.call, returned, self._number, sent.number)
            for sector in range(sent.first, sent.first + sent.sectors)
        ]

    def _lose(self) -> None:
        for sent in self._flight.values():
            if sent.command is Command.WRITE:
                self._wrote(sent, NEVER)
        self._flight.clear()


def seen(  # noqa: PLR0917  # a read and its times
    data: bytes | bytearray | memoryview,
    first: int,
    mixed: list[Mixed],
    call: float,
    returned: float,
    client: int = 0,
    request: int = 0,
) -> Sequence[int | None]:
    """Return for each sector of a read the number of its write; None if it is of several writes.

    :param mixed: sectors of several writes are appended.
    :raise Torn: a sector holds data that was never written.
    """
    words = np.frombuffer(data, dtype="<u8").reshape(-1, WORDS)

    def part(row: int, values: tuple[int, ...]) -> Mixed:
        return Mixed(first + row, values, call, returned, words[row].tobytes(), client, request)

    known = ((words >> np.uint64(32)) == MAGIC >> 32).all(axis=1)
    if not known.all():
        raise Torn([finding_of(part(int(np.argmin(known)), ()))])
    numbers = words & np.uint64(0xFFFFFFFF)
    found: list[int | None] = numbers[:, 0].tolist()
    for row in np.flatnonzero((numbers != numbers[:, :1]).any(axis=1)).tolist():
        mixed.append(part(row, tuple(sorted(set(numbers[row].tolist())))))
        found[row] = None
    return found


def final_reads(client: Client, size: int, history: History) -> None:
    """Read everything at the end, as accesses after all others."""
    call = clock.case_s() * 1e6
    values = seen(client.read(0, size), 0, history.mixed, call, float("inf"))
    returned = clock.case_s() * 1e6
    history.accesses += [
        Access(at, False, value, call, returned, 0, 0)
        for at, value in enumerate(values)
        if value is not None
    ]
