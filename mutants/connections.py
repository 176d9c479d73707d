"""Many clients, and clients that connect and disconnect (docs/bugs.md, groups H and I)."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALWAYS, FIXED
from mutants.mutant import Mutant, RequestMutant, blocks, changed, read, write
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


class SharedCursorRace(RequestMutant):
    """All connections share the position of one open file."""

    id = "shared-cursor-race"
    shows = ("not linearizable", "misplaced data")
    source = "docs/bugs.md, H1"
    breaks = "a write goes to the offset of the newest write of any connection"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start at offset 0."""
        self._position = 0

    def observe(self, request: Request) -> None:
        """Move the shared position to the offset of the write."""
        if request.command is Command.WRITE:
            self._position = request.offset

    def damage(self, request: Request, below: Below) -> Reply:
        """Wait 0.2 ms, then write at the current position."""
        time.sleep(0.0002)
        return below(changed(request, offset=self._position))


class MultiConnIncoherent(Mutant):
    """Each connection has its own write cache."""

    id = "multi-conn-incoherent"
    shows = ("not linearizable", "stale", "never written")
    source = "docs/bugs.md, H7"
    breaks = "other connections see a connection's writes only after it flushes"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with empty caches."""
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

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Write to the cache of the connection, and read through it."""
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


class ZombieWrite(RequestMutant):
    """A write is carried out again after its client has left."""

    id = "zombie-write-after-reconnect"
    shows = ("stale", "not linearizable", "never written")
    source = "docs/bugs.md, I1"
    breaks = "the first write of a connection is carried out again 50 ms after the connection ended"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without a kept write."""
        self._first: dict[int, tuple[Request, Below]] = {}
        on_end(self._later)

    def _later(self, connection: int) -> None:
        held = self._first.pop(connection, None)
        if held is not None:
            request, below = held
            timer = threading.Timer(0.05, below, [request])
            timer.daemon = True
            timer.start()

    def damages(self, request: Request) -> bool:
        """Return whether this is the first write of its connection, and not longer than 1 MiB."""
        return request.connection not in self._first and request.length <= 1 << 20

    def damage(self, request: Request, below: Below) -> Reply:
        """Keep a copy of the write."""
        data = bytes(request.payload)
        self._first[request.connection] = changed(request, payload=data), below
        return below(request)


class MergeAfterIssue(Mutant):
    """The second of two adjacent writes in flight is lost."""

    id = "merge-after-issue"
    shows = ("not linearizable", "misplaced data")
    source = "docs/bugs.md, H6"
    breaks = (
        "a write that begins where the previous write ended is acknowledged and not carried out"
    )
    commands = (Command.WRITE,)
    default_rate = 4

    def install(self) -> None:
        """Start without a write."""
        self._end_of: dict[int, int] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Drop a write that is adjacent to the previous one of its connection."""
        if request.command is Command.WRITE:
            adjacent = self._end_of.get(request.connection) == request.offset
            self._end_of[request.connection] = request.offset + request.length
            if adjacent and request.offset and self.strikes(request):
                return Reply()
        return below(request)


class TornReadModifyWrite(RequestMutant):
    """Writes of partial blocks read, change and write whole blocks without a lock."""

    id = "unlocked-read-modify-write"
    shows = ("not linearizable", "misplaced data")
    source = "docs/bugs.md, H (thin-alloc-toctou)"
    breaks = "of two small writes to one block at the same time, one is lost"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether the write is of partial blocks and without FUA."""
        is_aligned = not (request.offset | request.length) % 4096
        return not (is_aligned or request.flags & CommandFlag.FUA)

    def damage(self, request: Request, below: Below) -> Reply:
        """Read the blocks, wait 0.5 ms, write the blocks."""
        start = request.offset & -4096
        end = (request.offset + request.length + 4095) & -4096
        try:
            data = bytearray(read(request, below, start, end - start))
        except Exception:
            return below(request)  # the block is not whole at the end of the volume
        time.sleep(0.0005)
        at = request.offset - start
        data[at : at + request.length] = request.payload
        write(request, below, start, bytes(data))
        return Reply()


class ThinAllocationRace(Mutant):
    """Two first writes allocate the same unit twice."""

    id = "thin-alloc-toctou"
    shows = ("not linearizable", "misplaced data")
    source = "SPDK db3d1201a4"
    breaks = "of two first writes to one 64 KiB unit at the same time, one is lost"
    commands = (Command.WRITE,)
    waits = True
    UNIT = 65536

    def install(self) -> None:
        """Start with nothing allocated."""
        self._there: set[int] = set()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Read the unit, wait 2 ms, write the unit as it was read with the new data."""
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
        except BlockError:  # the last unit is short
            return below(request)
        time.sleep(0.002)
        self._there.add(unit)
        old[request.offset - start : request.offset - start + request.length] = request.payload
        write(request, below, start, bytes(old))
        return Reply()


class OverlapDeadlock(Mutant):
    """Overlapping requests wait for each other."""

    id = "overlap-deadlock"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer"
    source = "QEMU d44dae1a7c, SPDK cc4335f442"
    breaks = "two requests over the same two 4 KiB blocks lock them in different orders"
    commands = _DATA
    waits = True

    def install(self) -> None:
        """Start without locks."""
        self._locks: dict[int, threading.Lock] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Lock the first and the last block; odd connections lock in reverse order."""
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
    """Parent requests hold the resources that their children need."""

    id = "split-pool-deadlock"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer"
    source = "SPDK 2f2c3aeda7, QEMU cf4fbc3030"
    breaks = "two large writes at the same time each hold half of a pool and wait for the rest"
    commands = (Command.WRITE,)
    waits = True

    def install(self) -> None:
        """Start with two free slots."""
        self._pool = threading.Semaphore(2)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Take a slot for the write, then a slot for its first fragment."""
        if request.command is not Command.WRITE or request.length <= 65536:
            return below(request)
        strikes = self.strikes(request)
        with self._pool:
            time.sleep(0.001)
            with self._pool if strikes else contextlib.nullcontext():
                return below(request)


class NomemNeverRetried(Mutant):
    """A request that waits for memory is never retried."""

    id = "nomem-never-retried"
    shows = ("hang",)
    says = r"timed out|no answer|did not answer|did not end within"
    source = "SPDK 9468fe64fc, QEMU 00e3cccdf4"
    breaks = "a request over 64 KiB that comes while three others are in flight is never answered"
    commands = _DATA
    waits = True
    MOST = 3

    def install(self) -> None:
        """Start without large requests."""
        self._large = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Block the fourth large request forever."""
        if request.length <= 65536 or request.command not in _DATA:
            return below(request)
        with self._lock:
            self._large += 1
            is_over = self._large > self.MOST
        try:
            if is_over and self.strikes(request):
                threading.Event().wait()
            time.sleep(0.001)
            return below(request)
        finally:
            with self._lock:
                self._large -= 1


class HandshakeSlowloris(Mutant):
    """A connection slot is taken before the handshake ends."""

    id = "handshake-slowloris"
    shows = ("protocol error",)
    says = r"not served|refused|reset|closed the connection|Broken pipe"
    source = "CVE-2024-7409"
    breaks = "64 clients that do not finish their handshakes lock out all others"
    takes = FIXED
    MOST = 64

    def install(self) -> None:
        """Refuse clients while too many are in the handshake."""
        admit = Server._admit  # noqa: SLF001  # a mutant changes code

        def admitting(server: Server, sock: Any) -> Connection | None:
            known = list(server._connections.values())  # noqa: SLF001
            if sum(one.transmission is None for one in known) >= self.MOST:
                sock.close()
                return None
            return admit(server, sock)

        setattr(Server, "_admit", admitting)  # noqa: B010  # mypy knows methods as constants


class ConnectionSlotLeak(Mutant):
    """A client that leaves keeps its slot."""

    id = "connection-slot-leak"
    shows = ("protocol error",)
    says = r"not served|refused|reset|closed the connection|Broken pipe"
    source = "nbd issue 126, blktap PR 408"
    breaks = "after 256 clients that left during the handshake, no client is accepted"
    takes = ALWAYS
    MOST = 256

    def install(self) -> None:
        """Count clients that leave during the handshake."""
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
