"""Many clients, and clients that come and go (docs/bugs.md, groups H and I)."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import Mutant, blocks, changed, read, write
from reference_backend.server import Server
from reference_backend.session import Connection

SECTOR = 512
_DATA = (Command.READ, Command.WRITE)


def on_end(hook: Any) -> None:
    """Call ``hook(number)`` when a connection ends, before the server forgets it."""
    end = Server._end  # noqa: SLF001  # a mutant changes code

    def ending(server: Server, connection: Any) -> None:
        hook(connection.number)
        end(server, connection)

    setattr(Server, "_end", ending)  # noqa: B010  # mypy knows methods as constants


class SharedCursorRace(Mutant):
    """All connections seek one file."""

    id = "shared-cursor-race"
    shows = ("not linearizable", "misplaced data")
    source = "docs/bugs.md, H1"
    breaks = "a write goes where the newest request of any connection goes"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """At the start."""
        self._position = 0

    def meddle(self, request: Request, below: Below) -> Reply:
        """Seek, be interrupted, write."""
        if request.command is not Command.WRITE:
            return below(request)
        self._position = request.offset
        if not self.strikes(request):
            return below(request)
        time.sleep(0.0002)
        return below(changed(request, offset=self._position))


class MultiConnIncoherent(Mutant):
    """Each connection has a write cache of its own."""

    id = "multi-conn-incoherent"
    shows = ("not linearizable", "stale", "never written")
    source = "docs/bugs.md, H7"
    breaks = "others see a connection's writes only after its own flush"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """All caches are empty."""
        self._caches: dict[int, dict[int, bytes]] = {}
        self._below: Below | None = None
        on_end(lambda number: self._push(number, self._below))

    def _push(self, connection: int, below: Below | None) -> None:
        with self._lock:
            cache = self._caches.pop(connection, {})
            for sector, data in sorted(cache.items()):
                if below is not None:
                    asked = Request(Command.WRITE, 0, sector * SECTOR, len(data), 0, data)
                    below(asked)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Write to the cache; read through it."""
        with self._lock:
            self._below = below
            aligned = not (request.offset | request.length) % SECTOR
            cache = self._caches.setdefault(request.connection, {})
            if request.command is Command.WRITE and aligned and not request.flags:
                if not self.strikes(request):
                    for sector in blocks(request.offset, request.length, SECTOR):
                        cache.pop(sector, None)
                    return below(request)
                data = bytes(request.payload)
                for at in range(0, len(data), SECTOR):
                    cache[(request.offset + at) // SECTOR] = data[at : at + SECTOR]
                return Reply()
            if request.command is Command.READ:
                reply = below(request)
                self._overlay(cache, request, reply)
                return reply
            self._push(request.connection, below)
            return below(request)

    @staticmethod
    def _overlay(cache: dict[int, bytes], request: Request, reply: Reply) -> None:
        data = bytearray(reply.data)
        for sector in blocks(request.offset, request.length, SECTOR):
            held = cache.get(sector)
            if held is not None:
                start = sector * SECTOR - request.offset
                for index, byte in enumerate(held):
                    if 0 <= start + index < len(data):
                        data[start + index] = byte
        reply.data = bytes(data)


class ZombieWrite(Mutant):
    """A write is done again after its client has gone."""

    id = "zombie-write-after-reconnect"
    shows = ("stale", "not linearizable", "never written")
    source = "docs/bugs.md, I1"
    breaks = "the first write of a connection is done once more, 50 ms after the connection's end"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """None is waiting."""
        self._first: dict[int, tuple[Request, Below]] = {}
        on_end(self._later)

    def _later(self, connection: int) -> None:
        held = self._first.pop(connection, None)
        if held is not None:
            request, below = held
            timer = threading.Timer(0.05, below, [request])
            timer.daemon = True
            timer.start()

    def meddle(self, request: Request, below: Below) -> Reply:
        """Keep the first write."""
        is_first = request.command is Command.WRITE and request.connection not in self._first
        if is_first and request.length <= 1 << 20 and self.strikes(request):
            data = bytes(request.payload)
            self._first[request.connection] = changed(request, payload=data), below
        return below(request)


class MergeAfterIssue(Mutant):
    """Of two adjacent writes in flight the second is lost."""

    id = "merge-after-issue"
    shows = ("not linearizable", "misplaced data")
    source = "docs/bugs.md, H6"
    breaks = "a write that begins where the last one ended is acknowledged and not done"
    commands = (Command.WRITE,)
    usual_rate = 4

    def install(self) -> None:
        """No write yet."""
        self._end_of: dict[int, int] = {}

    def meddle(self, request: Request, below: Below) -> Reply:
        """Merge it into one that is already on its way."""
        if request.command is Command.WRITE:
            adjacent = self._end_of.get(request.connection) == request.offset
            self._end_of[request.connection] = request.offset + request.length
            if adjacent and request.offset and self.strikes(request):
                return Reply()
        return below(request)


class TornReadModifyWrite(Mutant):
    """Writes of less than a block read, change and write whole blocks, without a lock."""

    id = "unlocked-read-modify-write"
    shows = ("not linearizable", "misplaced data")
    source = "docs/bugs.md, H (thin-alloc-toctou)"
    breaks = "two small writes into one block at the same time lose one of them"
    commands = (Command.WRITE,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Read the block, let others run, write it."""
        aligned = not (request.offset | request.length) % 4096
        if request.command is not Command.WRITE or aligned or request.flags & CommandFlag.FUA:
            return below(request)
        if not self.strikes(request):
            return below(request)
        start = request.offset & -4096
        end = (request.offset + request.length + 4095) & -4096
        try:
            data = bytearray(read(request, below, start, end - start))
        except Exception:
            return below(request)  # at an odd end
        time.sleep(0.0005)
        at = request.offset - start
        data[at : at + request.length] = request.payload
        write(request, below, start, bytes(data))
        return Reply()


class ThinAllocationRace(Mutant):
    """Two first writes allocate one unit twice."""

    id = "thin-alloc-toctou"
    shows = ("not linearizable", "misplaced data")
    source = "SPDK db3d1201a4"
    breaks = "of two first writes into one 64 KiB unit at the same time one is lost"
    commands = (Command.WRITE,)
    waits = True
    UNIT = 65536

    def install(self) -> None:
        """All is unallocated."""
        self._there: set[int] = set()

    def meddle(self, request: Request, below: Below) -> Reply:
        """Look, be interrupted, allocate with what was there when looking."""
        unit = request.offset // self.UNIT
        inside = request.offset % self.UNIT + request.length <= self.UNIT
        if request.command is not Command.WRITE or unit in self._there or not inside:
            return below(request)
        if not self.strikes(request):
            self._there.add(unit)
            return below(request)
        start = unit * self.UNIT
        try:
            old = bytearray(read(request, below, start, self.UNIT))
        except BlockError:  # the last, short one
            return below(request)
        time.sleep(0.002)
        self._there.add(unit)
        old[request.offset - start : request.offset - start + request.length] = request.payload
        write(request, below, start, bytes(old))
        return Reply()


class OverlapDeadlock(Mutant):
    """Requests that overlap wait for each other."""

    id = "overlap-deadlock"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer"
    source = "QEMU d44dae1a7c, SPDK cc4335f442"
    breaks = "two requests over the same two 4 KiB blocks lock them in different orders"
    commands = _DATA
    waits = True

    def install(self) -> None:
        """Nothing is locked."""
        self._locks: dict[int, threading.Lock] = {}

    def meddle(self, request: Request, below: Below) -> Reply:
        """Lock the first and the last block, in the order of the connection."""
        touched = blocks(request.offset, request.length)
        if request.command not in _DATA or len(touched) < 2:
            return below(request)
        both = [touched[0], touched[-1]]
        if request.connection % 2 and self.strikes(request):
            both.reverse()
        with self._lock:
            first, second = (self._locks.setdefault(one, threading.Lock()) for one in both)
        with first:
            time.sleep(0.0005)
            with second:
                return below(request)


class SplitPoolDeadlock(Mutant):
    """Parents hold what their children need."""

    id = "split-pool-deadlock"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer"
    source = "SPDK 2f2c3aeda7, QEMU cf4fbc3030"
    breaks = "two large requests at the same time each hold half of a pool and wait for the rest"
    commands = (Command.WRITE,)
    waits = True

    def install(self) -> None:
        """All is free."""
        self._pool = threading.Semaphore(2)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Take one, then one for the first fragment."""
        if request.command is not Command.WRITE or request.length <= 65536:
            return below(request)
        strikes = self.strikes(request)
        with self._pool:
            time.sleep(0.001)
            with self._pool if strikes else contextlib.nullcontext():
                return below(request)


class NomemNeverRetried(Mutant):
    """What was put aside for want of memory is forgotten."""

    id = "nomem-never-retried"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer|did not end within"
    source = "SPDK 9468fe64fc, QEMU 00e3cccdf4"
    breaks = "a request over 64 KiB that comes while three others are in flight is never answered"
    commands = _DATA
    waits = True
    MOST = 3

    def install(self) -> None:
        """Nothing is in flight."""
        self._large = 0

    def meddle(self, request: Request, below: Below) -> Reply:
        """Put aside what is too much, for ever."""
        if request.length <= 65536 or request.command not in _DATA:
            return below(request)
        with self._lock:
            self._large += 1
            aside = self._large > self.MOST
        try:
            if aside and self.strikes(request):
                threading.Event().wait()
            time.sleep(0.001)
            return below(request)
        finally:
            with self._lock:
                self._large -= 1


class HandshakeSlowloris(Mutant):
    """Slots are taken before a client has proven itself."""

    id = "handshake-slowloris"
    shows = ("protocol error",)
    says = r"not served|refused|reset|closed the connection|Broken pipe"
    source = "CVE-2024-7409"
    breaks = "64 clients that do not end their handshakes keep everyone else out"
    takes = FIXED
    MOST = 64

    def install(self) -> None:
        """Look at all who have not got on."""
        admit = Server._admit  # noqa: SLF001  # a mutant changes code

        def admitting(server: Server, sock: Any) -> Connection | None:
            known = list(server._connections.values())  # noqa: SLF001
            if sum(one.transmission is None for one in known) >= self.MOST:
                sock.close()
                return None
            return admit(server, sock)

        setattr(Server, "_admit", admitting)  # noqa: B010  # mypy knows methods as constants


class ConnectionSlotLeak(Mutant):
    """A client that goes leaves its slot taken."""

    id = "connection-slot-leak"
    shows = ("protocol error",)
    says = r"not served|refused|reset|closed the connection|Broken pipe"
    source = "nbd issue 126, blktap PR 408"
    breaks = "after 256 clients that went without a word nobody is let in"
    takes = ALWAYS
    MOST = 256

    def install(self) -> None:
        """Count those who go in the middle of their handshake."""
        self._taken = 0
        admit, end = Server._admit, Server._end  # noqa: SLF001  # a mutant changes code

        def admitting(server: Server, sock: Any) -> Connection | None:
            if self._taken >= self.MOST:
                sock.close()
                return None
            return admit(server, sock)

        def ending(server: Server, connection: Connection) -> None:
            known = connection.number in server._connections  # noqa: SLF001
            is_early = known and connection.transmission is None
            self._taken += is_early and self.strikes()
            end(server, connection)

        setattr(Server, "_admit", admitting)  # noqa: B010
        setattr(Server, "_end", ending)  # noqa: B010
