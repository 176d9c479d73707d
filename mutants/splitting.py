"""Requests that are split, merged, copied through buffers, or cut short (docs/bugs.md)."""

from __future__ import annotations

import errno
import time
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.connections import on_end
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, changed, read, write
from mutants.patching import replace
from reference_backend.store.volume import Volume

_DATA = (Command.READ, Command.WRITE)
_CHUNK = 65536
MIB = 1 << 20


class ChunkReceiveOverwrites(RequestMutant):
    """A page that arrives in two chunks is filled from its beginning twice."""

    id = "chunk-receive-overwrites"
    shows = ("misplaced data",)
    source = "DRBD 724202876"
    breaks = (
        "of a write over 64 KiB that starts inside a page, the page at 64 KiB is assembled wrongly"
    )
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether a page crosses the end of the first chunk."""
        return bool(request.offset % BLOCK) and request.length > _CHUNK + BLOCK

    def damage(self, request: Request, below: Below) -> Reply:
        """Put the second part of the page over its first part."""
        data = bytearray(request.payload)
        first = (request.offset + _CHUNK) % BLOCK
        rest = BLOCK - first
        page = data[_CHUNK : _CHUNK + rest] + bytes(BLOCK)
        data[_CHUNK - first : _CHUNK + rest] = page[:BLOCK]
        return below(changed(request, payload=bytes(data)))


class BounceSizeWithoutHead(RequestMutant):
    """The size of a bounce buffer does not count the unaligned head."""

    id = "bounce-size-without-head"
    shows = ("error",)
    says = r"Input/output error|errno|memory"
    source = "SPDK 957468d039"
    breaks = "an unaligned request that is longer than the maximum less 4096 bytes fails"
    commands = _DATA

    def damages(self, request: Request) -> bool:
        """Return whether the aligned request is longer than 32 MiB."""
        end = request.offset + request.length
        return (end + 4095 & -BLOCK) - (request.offset & -BLOCK) > 32 * MIB

    def damage(self, request: Request, below: Below) -> Reply:
        """Fail for want of a buffer."""
        raise BlockError(errno.EIO, "no buffer is large enough")


class LargeBlocksCopiedInPart(Mutant):
    """Sectors of 4096 bytes are copied as if they had 512."""

    id = "large-blocks-copied-in-part"
    shows = ("misplaced data", "lost write")
    source = "cloud-hypervisor d414127b0"
    breaks = "with blocks of 4096 bytes and more, a write stores the first 512 bytes of each block"
    takes = ALWAYS

    def install(self) -> None:
        """Write the first 512 bytes of each block."""

        def make(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                block = volume.block_sizes[0]
                if block < BLOCK or not self.strikes():
                    real(volume, offset, data, fua)
                    return
                for at in range(0, len(data), block):
                    real(volume, offset + at, data[at : at + 512], fua)

            return write_

        replace(Volume, "write", make)


class SharedPositionRead(RequestMutant):
    """All queues share the position of one open file, and read from it."""

    id = "shared-position-read"
    shows = ("not linearizable", "misplaced data")
    source = "cloud-hypervisor 6f19d0071"
    breaks = "a read returns what is at the offset of the newest read of any connection"
    commands = (Command.READ,)
    waits = True

    def install(self) -> None:
        """Start at offset 0."""
        self._position = 0

    def observe(self, request: Request) -> None:
        """Move the position."""
        if request.command is Command.READ:
            self._position = request.offset

    def damage(self, request: Request, below: Below) -> Reply:
        """Wait 0.2 ms, then read at the current position."""
        time.sleep(0.0002)
        try:
            return below(changed(request, offset=self._position))
        except BlockError:
            return below(request)


class DeferredWriteOvertaken(Mutant):
    """Large writes are queued after their acknowledgement; small ones are not."""

    id = "deferred-write-overtaken"
    shows = ("lost write", "misplaced data")
    source = "Crucible 862cd981"
    breaks = (
        "a small write that directly follows an acknowledged one of 64 KiB and more is done first"
    )
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with an empty queue."""
        self._held: tuple[Request, Below] | None = None
        on_end(lambda _: self._carry_out_held())

    def _carry_out_held(self) -> None:
        with self._lock:
            held, self._held = self._held, None
            if held is not None:
                held[1](held[0])

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Let small writes pass the large one that is held."""
        with self._lock:
            is_small = request.command is Command.WRITE and request.length < _CHUNK
            if self._held is not None and is_small and not request.flags:
                reply = below(request)
                self._carry_out_held()
                return reply
            self._carry_out_held()
            is_large = request.command is Command.WRITE and request.length >= _CHUNK
            if is_large and not request.flags and self.strikes(request):
                end = request.offset + request.length
                read(request, below, end - 1, 1)  # a write beyond the end fails at once
                self._held = request, below
                return Reply()
            return below(request)


class VectoredTailDropped(RequestMutant):
    """A request with padding at both ends has more segments than one call takes."""

    id = "vectored-tail-dropped"
    shows = ("lost write", "misplaced data")
    source = "class known from QEMU: padding beyond IOV_MAX segments"
    breaks = "a write over 4 MiB that is unaligned at both ends loses its last partial page"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether there are more than 1024 segments."""
        end = request.offset + request.length
        return request.length > 4 * MIB and bool(request.offset % BLOCK and end % BLOCK)

    def damage(self, request: Request, below: Below) -> Reply:
        """Leave the last segment out."""
        tail = (request.offset + request.length) % BLOCK
        return below(changed(request, payload=bytes(request.payload)[:-tail]))


class ShortWriteNotContinued(RequestMutant):
    """A write that moved fewer bytes than requested counts as done."""

    id = "short-write-not-continued"
    shows = ("lost write", "misplaced data")
    source = "ubiblk PR 501"
    breaks = "a write across an offset of 1 GiB, 2 GiB, 3 GiB... ends there and reports success"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether the write crosses a multiple of 1 GiB."""
        return request.offset >> 30 != (request.offset + max(request.length, 1) - 1) >> 30

    def damage(self, request: Request, below: Below) -> Reply:
        """Write up to the boundary."""
        room = -request.offset % (1 << 30)
        return below(changed(request, payload=bytes(request.payload)[:room]))


class ShortReadKeepsBuffer(Mutant):
    """A read that moved fewer bytes than requested leaves old bytes in its buffer."""

    id = "short-read-keeps-buffer"
    shows = ("misplaced data",)
    says = r"differ"
    source = "ubiblk PR 501"
    breaks = (
        "a read over 64 KiB that ends at the end of the volume ends with bytes of an earlier read"
    )
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with a buffer of zeroes."""
        self._buffer = bytes(BLOCK)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Take the last bytes from the buffer."""
        reply = below(request)
        if request.command is not Command.READ or request.length <= _CHUNK:
            return reply
        data = bytes(reply.data)
        try:
            read(request, below, request.offset + request.length, 1)
        except BlockError:
            if self._buffer != data[-BLOCK:] and self.strikes(request):
                reply.data = data[:-BLOCK] + self._buffer
        else:
            self._buffer = data[-BLOCK:]
        return reply


class RmwEdgeCacheStale(RequestMutant):
    """The block around an unaligned write comes from a cache that whole writes do not change."""

    id = "rmw-edge-cache-stale"
    shows = ("lost write", "misplaced data")
    source = "class known from read-modify-write caches of bounce buffers"
    breaks = (
        "two partial writes of a block with a whole write between them restore the block's old data"
    )
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with no block known."""
        self._block = -1
        self._old = b""

    def damages(self, request: Request) -> bool:
        """Return whether a partial write stays in one block; remember the block after the first."""
        number = request.offset // BLOCK
        return (
            0 < request.offset % BLOCK + request.length <= BLOCK
            and request.length < BLOCK
            and (number == self._block or not self._remember(number))
        )

    def _remember(self, number: int) -> bool:
        self._block, self._old = number, b""
        return True

    def damage(self, request: Request, below: Below) -> Reply:
        """Write the block with the cached edges."""
        start = self._block * BLOCK
        try:
            block = bytearray(self._old or read(request, below, start, BLOCK))
        except BlockError:
            return below(request)
        at = request.offset - start
        block[at : at + request.length] = request.payload
        self._old = bytes(block)
        write(request, below, start, self._old)
        return Reply() if not request.flags else below(request)


class ParityBufferShared(RequestMutant):
    """Requests that are retried share one list of buffers."""

    id = "parity-buffer-shared"
    shows = ("not linearizable", "misplaced data")
    source = "SPDK f84f0cc811"
    breaks = "of two writes of one length at the same time, both store the data of the newer"
    commands = (Command.WRITE,)
    waits = True

    def install(self) -> None:
        """Start with empty buffers."""
        self._buffer = b""

    def observe(self, request: Request) -> None:
        """Fill the shared buffer."""
        if request.command is Command.WRITE:
            self._buffer = bytes(request.payload)

    def damage(self, request: Request, below: Below) -> Reply:
        """Wait 0.3 ms, then use the buffer."""
        time.sleep(0.0003)
        data = self._buffer
        return below(request if len(data) != request.length else changed(request, payload=data))
