"""Ends of connections, names and numbers that are used again, parts of requests (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import os
import threading
from collections import Counter
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants import clock
from mutants.connections import on_end
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, ReplyMutant, RequestMutant, changed, raising, read, write
from mutants.patching import replace
from reference_backend import session
from reference_backend.memory_pool import MemoryPool
from reference_backend.nbd import messages as m
from reference_backend.nbd.options import Options
from reference_backend.nbd.transmission import ServerTransmission
from reference_backend.server import Server
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536


class DisconnectDropsOutstanding(Mutant):
    """DISC is handled before the requests that arrived with it."""

    id = "disconnect-drops-outstanding"
    shows = ("lost write", "zeroed", "never written")
    source = "class known from queues that are emptied at a disconnect (NBD document, NBD_CMD_DISC)"
    breaks = "requests that arrive together with DISC are not carried out"
    takes = ALWAYS

    def install(self) -> None:
        """Look for a DISC in what was received."""

        def make(real: Any) -> Any:
            def run(transmission: ServerTransmission, start: int, end: int) -> int:
                found = _find_disc(transmission, start, end)
                if found > start and self.strikes():
                    start = found
                done: int = real(transmission, start, end)
                return done

            return run

        replace(ServerTransmission, "run", make)


def _find_disc(transmission: ServerTransmission, start: int, end: int) -> int:
    """Return where the header of a DISC begins; ``start`` if none was received."""
    at, header = start, transmission.header_size
    form = m.REQUEST if header == m.REQUEST.size else m.EXTENDED_REQUEST
    while at + header <= end:
        _, _, command, _, _, length = form.unpack_from(transmission.buffer, at)
        if command == Command.DISC:
            return at
        at += header + (length if command == Command.WRITE else 0)
    return start


class AbruptEndDropsWrite(Mutant):
    """The clean-up after a client that vanished throws away what an orderly end writes."""

    id = "abrupt-end-drops-write"
    shows = ("lost write", "stale", "never written")
    source = "class known from the clean-up of lost clients (variant of close-drops-dirty)"
    breaks = "the last acknowledged write is lost if its connection ends without DISC"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Note how each connection ends."""
        self._undo: dict[int, tuple[Request, bytes, Below]] = {}

        def make(real: Any) -> Any:
            def end(server: Server, connection: Any) -> None:
                last = self._undo.pop(connection.number, None)
                transmission = connection.transmission
                is_orderly = transmission is None or transmission.closed
                if last is not None and not is_orderly and self.strikes(last[0]):
                    request, old, below = last
                    with contextlib.suppress(BlockError):
                        below(changed(request, payload=old, flags=0))
                real(server, connection)

            return end

        replace(Server, "_end", make)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Remember what the newest write replaced, until something makes it durable."""
        if request.command is Command.WRITE and not request.flags & CommandFlag.FUA:
            with contextlib.suppress(BlockError):
                old = read(request, below, request.offset, request.length)
                self._undo[request.connection] = request, old, below
        elif request.command in {Command.FLUSH, *_CHANGES}:
            self._undo.pop(request.connection, None)
        return below(request)


class ContextsAccumulate(Mutant):
    """SET_META_CONTEXT adds to what an earlier one chose."""

    id = "contexts-accumulate"
    shows = ("block status", "protocol error")
    says = r"(?i)context|status"
    source = "NBD document, NBD_OPT_SET_META_CONTEXT (a new selection replaces the earlier one)"
    breaks = "a second SET_META_CONTEXT keeps the contexts of the first one"
    takes = ALWAYS

    def install(self) -> None:
        """Keep the earlier contexts."""

        def make(real: Any) -> Any:
            def answer(options: Options, number: int, data: bytes) -> list[bytes]:
                agreement = options.agreement
                before, export = dict(agreement.contexts), agreement.context_export
                replies: list[bytes] = real(options, number, data)
                kept = {**before, **agreement.contexts}
                is_new = export == agreement.context_export and kept != agreement.contexts
                if is_new and self.strikes():
                    agreement.contexts = kept
                return replies

            return answer

        replace(Options, "answer", make)


class SplitStatusOfLastPart(RequestMutant):
    """The result of a request that was split is that of the part that ended last."""

    id = "split-status-of-last-part"
    shows = ("error", "lost write", "zeroed", "never written", "stale")
    says = r"errno|error|succeeded|fail"
    source = "class known from split and striped requests (SPDK bdev splits, md)"
    breaks = "an error of a request is ignored if it is in the part before a 64 KiB boundary"
    commands = (Command.READ, *_CHANGES)

    def damages(self, request: Request) -> bool:
        """Return whether the request crosses a boundary."""
        return request.offset % _UNIT + request.length > _UNIT

    def damage(self, request: Request, below: Below) -> Reply:
        """Do both parts, and return the result of the second."""
        below = raising(below)
        first = _UNIT - request.offset % _UNIT
        payload = bytes(request.payload)
        head = changed(request, length=first, payload=payload[:first] if payload else None)
        tail = changed(
            request,
            offset=request.offset + first,
            length=request.length - first,
            payload=payload[first:] if payload else None,
        )
        data = bytes(first)
        with contextlib.suppress(BlockError):
            data = bytes(below(head).data)
        reply = below(tail)
        if request.command is Command.READ:
            reply.data = data + bytes(reply.data)
        return reply


class SlowWriteDoneAgain(RequestMutant):
    """A watchdog submits a slow request again, and does not cancel the first one."""

    id = "slow-write-done-again"
    shows = ("stale", "lost write", "misplaced data")
    source = (
        "class known from time-outs below a driver (NVMe and SCSI aborts, nbd dead connections)"
    )
    breaks = "a write that took half a second is carried out again 0.3 s after its reply"
    commands = (Command.WRITE,)

    def damage(self, request: Request, below: Below) -> Reply:
        """Carry the write out, and again if it was slow."""
        began_s = clock.now_s()
        again = changed(request, payload=bytes(request.payload))
        reply = below(request)
        if clock.now_s() - began_s >= 0.5:  # half a second
            timer = threading.Timer(0.3, self._repeat, (again, below))
            timer.daemon = True
            timer.start()
        return reply

    @staticmethod
    def _repeat(request: Request, below: Below) -> None:
        with contextlib.suppress(Exception):  # the volume may be gone
            below(request)


class TagWraps(Mutant):
    """Requests are numbered by 16 bits, and a number that is used again counts as done."""

    id = "tag-wraps"
    shows = ("lost write", "stale", "never written", "not linearizable")
    source = "class known from tags of 16 bits (SPDK and NVMe command identifiers)"
    breaks = "the writes of a connection are not carried out after its 65536th request"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Count the requests of each connection."""
        self._counts: Counter[int] = Counter()
        on_end(lambda number: self._counts.pop(number, None))

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Acknowledge a write whose number was used before."""
        self._counts[request.connection] += 1
        is_again = self._counts[request.connection] > 1 << 16
        if is_again and request.command is Command.WRITE and self.strikes(request):
            return Reply()
        return below(request)


class AllOnesIsErased(RequestMutant):
    """A block of ones looks like erased flash, and is not stored."""

    id = "all-ones-is-erased"
    shows = ("zeroed", "misplaced data", "lost write")
    source = "class known from flash translation layers"
    breaks = "a block of 4 KiB of which all bits are set is stored as zeroes"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether there is such a block."""
        return bool(self._erased(request))

    @staticmethod
    def _erased(request: Request) -> list[int]:
        data = bytes(request.payload)
        start = -request.offset % BLOCK
        places = range(start, len(data) - BLOCK + 1, BLOCK)
        return [at for at in places if data[at : at + BLOCK] == b"\xff" * BLOCK]

    def damage(self, request: Request, below: Below) -> Reply:
        """Store zeroes."""
        data = bytearray(request.payload)
        for at in self._erased(request):
            data[at : at + BLOCK] = bytes(BLOCK)
        return below(changed(request, payload=bytes(data)))


class SnapshotByNameKept(Mutant):
    """A table by name keeps a snapshot that was removed."""

    id = "snapshot-by-name-kept"
    shows = ("stale", "lost write", "never written", "misplaced data", "newer")
    says = r"unlike"
    source = "class known from tables by name (Longhorn snapshots, librbd snapshot names)"
    breaks = "a snapshot that takes the name of a removed one shows the contents of that one"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Keep what is removed."""
        self._kept: dict[tuple[str, str], MemoryStore] = {}

        def make_remove(real: Any) -> Any:
            def remove(pool: MemoryPool, name: str, snapshot: str) -> None:
                store = pool._stores[name].open_snapshot(snapshot)  # noqa: SLF001  # a mutant changes code
                real(pool, name, snapshot)
                self._kept.setdefault((name, snapshot), store)

            return remove

        def make_open(real: Any) -> Any:
            def open_(store: MemoryStore, snapshot: str) -> MemoryStore:
                found: MemoryStore = real(store, snapshot)
                for (_, name), kept in self._kept.items():
                    if name == snapshot and kept.size == found.size and self.strikes():
                        return kept
                return found

            return open_

        replace(MemoryPool, "_remove_snapshot", make_remove)
        replace(MemoryStore, "open_snapshot", make_open)


class CookieCutTo32Bits(ReplyMutant):
    """Cookies are kept as 32-bit numbers."""

    id = "cookie-cut-to-32-bits"
    shows = ("protocol error",)
    says = r"cookie|reply|closed the connection|Input/output"
    source = "class known from tags of NBD servers in C"
    breaks = "a reply carries only the lower 32 bits of its request's cookie"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the cookie is longer."""
        return request.cookie >> 32 != 0

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Clear the upper half on the wire."""
        reply.on_wire = lambda raw: (raw[:8] + bytes(4) + raw[12:], True)


class DescriptorLeak(Mutant):
    """A file that belongs to a connection is not closed with it."""

    id = "descriptor-leak"
    says = r"open files|descriptor|leak"
    source = "class known from servers (leaks of each client)"
    breaks = "each client leaves an open file in the server"
    takes = ALWAYS

    def install(self) -> None:
        """Open a file at the end of each connection."""

        def leak(_number: int) -> None:
            if self.strikes():
                os.open(os.devnull, os.O_RDONLY)

        on_end(leak)


class RefusalLeaksDescriptor(Mutant):
    """A file that is made for the payload of a write is not closed if the write is refused."""

    id = "refusal-leaks-descriptor"
    says = r"open files|descriptor|leak"
    source = "flexnbd-c 0.5.0 (docs/findings.md)"
    breaks = "each refused write leaves an open file in the server"
    takes = ALWAYS

    def install(self) -> None:
        """Open a file for each payload that is skipped."""

        def make(real: Any) -> Any:
            def skip(*arguments: Any) -> None:
                if self.strikes():
                    os.open(os.devnull, os.O_RDONLY)
                real(*arguments)

            return skip

        replace(ServerTransmission, "_skip", make)


class CutPayloadSpins(Mutant):
    """A thread waits for the rest of a refused payload, and does not see the end of its client."""

    id = "cut-payload-spins"
    says = r"used .* of CPU"
    source = "flexnbd-c 0.5.0 (docs/findings.md)"
    breaks = "a client that leaves within the payload of a refused write leaves a busy thread"
    takes = ALWAYS

    def install(self) -> None:
        """Spin where the rest of a payload does not come."""

        def spin() -> None:
            while True:
                pass

        def make(real: Any) -> Any:
            def drain(*arguments: Any) -> None:
                try:
                    real(*arguments)
                except (OSError, EOFError):
                    if self.strikes():
                        threading.Thread(target=spin, daemon=True).start()
                    raise

            return drain

        replace(session.Connection, "_drain", make)


class ReplySentUnderLock(Mutant):
    """Replies are sent while a lock of all connections is held."""

    id = "reply-sent-under-lock"
    says = r"another client reads no replies|no reply within"
    source = "class known from servers that answer before they release a lock (thread pools)"
    breaks = "while one client reads no replies, no other client gets any"
    takes = ALWAYS

    def install(self) -> None:
        """Take one lock for the replies of all connections."""
        one = threading.Lock()

        def alone(send: Any) -> Any:
            def send_alone(*what: Any) -> None:
                with one if self.strikes() else contextlib.nullcontext():
                    send(*what)

            return send_alone

        replace(session, "sender", lambda real: lambda sock: alone(real(sock)))
        replace(session.Connection, "_send_large", alone)


class FuaDestagedOver(Mutant):
    """A write with FUA goes around the cache, which writes an older version over it later."""

    id = "fua-destaged-over"
    shows = ("stale", "lost write", "misplaced data")
    source = "class known from write-back caches with a path around them (dm-writecache, Open-CAS)"
    breaks = "a flush restores what a write had stored in a place before a write with FUA"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Start with an empty cache."""
        self._cached: list[tuple[int, bytes]] = []
        self._stale: list[tuple[int, bytes]] = []

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Destage at a flush what a FUA write has replaced since."""
        with self._lock:
            return self._carry_out(request, below)

    def _carry_out(self, request: Request, below: Below) -> Reply:
        start, end = request.offset, request.offset + request.length
        if request.command is Command.FLUSH:
            reply = below(request)
            if self._stale and self.strikes(request):
                for offset, data in self._stale:
                    write(request, below, offset, data)
            self._cached.clear()
            self._stale.clear()
            return reply
        if request.command not in _CHANGES:
            return below(request)
        hit = [one for one in self._cached if one[0] < end and start < one[0] + len(one[1])]
        self._cached = [one for one in self._cached if one not in hit]
        if request.command is Command.WRITE and request.flags & CommandFlag.FUA:
            self._stale += hit
        else:
            self._stale = [o for o in self._stale if o[0] >= end or start >= o[0] + len(o[1])]
            if request.command is Command.WRITE and request.length <= _UNIT:
                self._cached = [*self._cached[-63:], (start, bytes(request.payload))]
        return below(request)


class FlushAfterResizeSkipped(RequestMutant):
    """A resize makes a new list of dirty blocks; the first flush after it finds nothing to do."""

    id = "flush-after-resize-skipped"
    shows = ("lost write", "never written", "stale", "zeroed")
    source = "class known from caches that are set up anew (librbd and QEMU caches at a resize)"
    breaks = "the first flush after a resize makes nothing durable"
    commands = (Command.FLUSH,)

    def install(self) -> None:
        """Note resizes."""
        self._is_new = False

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                real(volume, size)
                self._is_new = True

            return resize

        replace(Volume, "resize", make)

    def damages(self, request: Request) -> bool:
        """Return whether this is the first flush after a resize."""
        is_first, self._is_new = self._is_new, False
        return is_first

    def damage(self, request: Request, below: Below) -> Reply:
        """Answer at once."""
        return Reply()
