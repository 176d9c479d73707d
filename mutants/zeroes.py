"""Zeroes, discards, holes and what is said of them (docs/bugs.md, group D)."""

from __future__ import annotations

import hashlib

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO, Extent
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.mutant import BLOCK, Mutant, blocks, changed, whole_blocks, without

MIB = 1 << 20
ALLOCATION = "base:allocation"


class WriteZeroesNoop(Mutant):
    """Zeroes are acknowledged and not written."""

    id = "write-zeroes-noop"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "QEMU 7fa84cd8d4, nbd-server 3.24 beyond 64 MiB"
    breaks = "write-zeroes does nothing"
    commands = (Command.WRITE_ZEROES,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Say yes."""
        is_zero = request.command is Command.WRITE_ZEROES
        return Reply() if is_zero and self.strikes(request) else below(request)


class WriteZeroesTruncated(Mutant):
    """Long zeroes are cut short."""

    id = "write-zeroes-truncated"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "nbd-server 3.24 (docs/findings.md)"
    breaks = "write-zeroes does its first 64 MiB only"
    commands = (Command.WRITE_ZEROES,)
    MOST = 64 * MIB

    def meddle(self, request: Request, below: Below) -> Reply:
        """Do what one call does."""
        is_long = request.command is Command.WRITE_ZEROES and request.length > self.MOST
        if is_long and self.strikes(request):
            return below(changed(request, length=self.MOST))
        return below(request)


class DiscardOverreach(Mutant):
    """Discards are rounded outward."""

    id = "discard-overreach"
    shows = ("zeroed", "torn")
    source = "QEMU and SPDK discard rounding (docs/bugs.md)"
    breaks = "a discard takes all 64 KiB units that it touches"
    commands = (Command.TRIM,)
    UNIT = 65536

    def meddle(self, request: Request, below: Below) -> Reply:
        """Round to whole units."""
        if request.command is Command.TRIM and request.length and self.strikes(request):
            start = request.offset & -self.UNIT
            end = (request.offset + request.length + self.UNIT - 1) & -self.UNIT
            try:
                return below(changed(request, offset=start, length=end - start))
            except BlockError:
                pass  # beyond the end of the volume: this one is right
        return below(request)


class ZeroViaNondeterministicDiscard(Mutant):
    """Zeroing is done by discarding, which does only whole units."""

    id = "zero-via-nondeterministic-discard"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "Linux and QEMU discard_zeroes_data (docs/bugs.md)"
    breaks = "write-zeroes zeroes whole MiB only, and leaves the edges as they are"
    commands = (Command.WRITE_ZEROES,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Hand the whole units down."""
        if not (request.command is Command.WRITE_ZEROES and self.strikes(request)):
            return below(request)
        units = whole_blocks(request.offset, request.length, MIB)
        if not units:
            return Reply()
        return below(changed(request, offset=units.start * MIB, length=len(units) * MIB))


class FalseZeroInit(Mutant):
    """A new volume holds what its disk held before."""

    id = "false-zero-init"
    shows = ("unknown", "block status")
    says = r"not all zeroes|not zero"
    source = "QEMU has_zero_init on reused storage (docs/bugs.md)"
    breaks = "what was never written reads as noise, and is said to be zero"
    commands = (Command.READ,)

    def install(self) -> None:
        """Nothing was written yet."""
        self._written: set[int] = set()
        self._all_from = 1 << 63

    def meddle(self, request: Request, below: Below) -> Reply:
        """Show noise in blocks that no write or zeroing has touched."""
        reply = below(request)
        touched = blocks(request.offset, request.length)
        if request.command in (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM):
            if len(touched) <= 1 << 18:
                self._written.update(touched)
        elif self._is_new(request, touched) and self.strikes(request):
            data = bytearray(reply.data)
            for number in whole_blocks(request.offset, request.length):
                if number not in self._written:
                    at = number * BLOCK - request.offset
                    data[at : at + BLOCK] = noise(number)
            reply.data = bytes(data)
        return reply

    def _is_new(self, request: Request, touched: range) -> bool:
        return request.command is Command.READ and not self._written.issuperset(touched)


def noise(number: int) -> bytes:
    """Return the bytes that an old disk holds in a block."""
    return hashlib.shake_128(number.to_bytes(8, "big")).digest(BLOCK)


class ZeroFlagsLost(Mutant):
    """NO_HOLE is ignored."""

    id = "zero-flags-lost"
    says = r"NO_HOLE|hole|FAST_ZERO"
    source = "QEMU and nbdkit flag translation (docs/bugs.md)"
    breaks = "write-zeroes with NO_HOLE makes a hole"
    commands = (Command.WRITE_ZEROES,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Take the flag away."""
        is_zero = request.command is Command.WRITE_ZEROES
        if is_zero and request.flags & CommandFlag.NO_HOLE and self.strikes(request):
            return below(without(request, CommandFlag.NO_HOLE))
        return below(request)


class StatusHoleOverDirty(Mutant):
    """Block status does not know what was not flushed."""

    id = "status-hole-over-dirty"
    shows = ("zeroed", "lost", "block status")
    says = r"status|hole|is lost"
    source = "QEMU and ZFS SEEK_HOLE over dirty data (docs/bugs.md)"
    breaks = "a range with an unflushed write is said to be a hole that reads zero"
    commands = (Command.BLOCK_STATUS,)

    def install(self) -> None:
        """All is flushed."""
        self._dirty: list[tuple[int, int]] = []

    def meddle(self, request: Request, below: Below) -> Reply:
        """Look only at what is on the medium."""
        reply = below(request)
        if request.command is Command.WRITE:
            self._dirty.append((request.offset, request.offset + request.length))
            del self._dirty[:-32]
        elif request.command is Command.FLUSH:
            self._dirty.clear()
        elif request.command is Command.BLOCK_STATUS and ALLOCATION in reply.extents:
            end = request.offset + request.length
            hits = [a for a, b in self._dirty if a < end and b > request.offset]
            if hits and self.strikes(request):
                reply.extents[ALLOCATION] = [Extent(request.length, STATE_HOLE | STATE_ZERO)]
        return reply


class ExtentsUnsorted(Mutant):
    """Extents come in the wrong order."""

    id = "extents-unsorted"
    shows = ("block status",)
    says = r"extent|status"
    source = "QEMU rbd diff iteration (docs/bugs.md)"
    breaks = "the first two extents of a block status are swapped"
    commands = (Command.BLOCK_STATUS,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Swap them."""
        reply = below(request)
        extents = list(reply.extents.get(ALLOCATION, ()))
        if len(extents) > 1 and self.strikes(request):
            extents[:2] = extents[1::-1]
            reply.extents[ALLOCATION] = extents
        return reply


class AllocMapRoundingReadsZero(Mutant):
    """The map of allocated clusters counts wrongly."""

    id = "alloc-map-rounding-reads-zero"
    shows = ("zeroed",)
    source = "docs/bugs.md, D12"
    breaks = "the last 64 KiB cluster that a write only touches reads as zero"
    commands = (Command.READ,)
    CLUSTER = 65536

    def install(self) -> None:
        """No cluster is allocated."""
        self._map: set[int] = set()

    def meddle(self, request: Request, below: Below) -> Reply:
        """Mark floor(offset / c) to floor((offset + length) / c), exclusive; read by the map."""
        reply = below(request)
        first = request.offset // self.CLUSTER
        if request.command is Command.WRITE:
            after = max((request.offset + request.length) // self.CLUSTER, first + 1)
            self._map.update(range(first, after))
        elif self._is_unmapped(request) and self.strikes(request):
            data = bytearray(reply.data)
            for number in blocks(request.offset, request.length, self.CLUSTER):
                if number not in self._map:
                    start = max(number * self.CLUSTER - request.offset, 0)
                    stop = min((number + 1) * self.CLUSTER - request.offset, len(data))
                    data[start:stop] = bytes(stop - start)
            reply.data = bytes(data)
        return reply

    def _is_unmapped(self, request: Request) -> bool:
        clusters = blocks(request.offset, request.length, self.CLUSTER)
        return request.command is Command.READ and not self._map.issuperset(clusters)


class SparseTailDropped(Mutant):
    """Zero detection looks at whole blocks only."""

    id = "sparse-tail-dropped"
    shows = ("zeroed", "bit flip", "lost", "torn", "altered")
    says = r"tail"
    source = "QEMU qemu-img convert and detect-zeroes tails (docs/bugs.md)"
    breaks = "a write that is zero but for its last odd bytes is stored as zeroes"
    commands = (Command.WRITE,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Do not look at the tail."""
        if request.command is Command.WRITE and request.length > BLOCK and request.length % BLOCK:
            data = bytes(request.payload)
            if not any(data[: len(data) & -BLOCK]) and self.strikes(request):
                return below(changed(request, payload=bytes(len(data))))
        return below(request)


class PreviousTenantData(Mutant):
    """A block that is used again still holds what it held."""

    id = "previous-tenant-data"
    shows = ("stale", "foreign", "torn", "never written", "unknown")
    says = r"not zero"
    source = "thin pools that do not clear on reuse (docs/bugs.md)"
    breaks = "the first small write into a discarded block brings its old bytes back"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Nothing is free."""
        self._free: dict[int, bytes] = {}

    def meddle(self, request: Request, below: Below) -> Reply:
        """Keep what is discarded, and give it back with the block."""
        with self._lock:
            if request.command is Command.TRIM and request.length <= 64 * MIB:
                for number in whole_blocks(request.offset, request.length):
                    asked = changed(request, Command.READ, number * BLOCK, BLOCK, flags=0)
                    self._free[number] = bytes(below(asked).data)
            elif request.command is Command.WRITE:
                for number in blocks(request.offset, request.length):
                    old = self._free.pop(number, None)
                    if old is not None and self.strikes(request):
                        again = changed(request, offset=number * BLOCK, payload=old, flags=0)
                        below(again)
            return below(request)


class StatusUnalignedEof(Mutant):
    """Extents end within a block."""

    id = "status-unaligned-eof"
    shows = ("block status",)
    says = r"status"
    source = "QEMU 737d3f5244, 9c3db310ff"
    breaks = "block status ends its first extent 100 bytes into the range, whatever the block size"
    commands = (Command.BLOCK_STATUS,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Split."""
        reply = below(request)
        if not (reply.extents and self.strikes(request)):
            return reply
        for name, extents in reply.extents.items():
            first = extents[0]
            if first.length > 512:
                parts = [Extent(100, first.flags), Extent(first.length - 100, first.flags)]
                reply.extents[name] = [*parts, *extents[1:]]
        return reply


class ExtentsBlowup(Mutant):
    """Extents are not merged."""

    id = "extents-blowup"
    shows = ("hang",)
    says = r"did not answer|timed out|extents"
    source = "nbdkit 6e0dc839"
    breaks = "block status gives an extent for each 512 bytes, without limit"
    commands = (Command.BLOCK_STATUS,)

    def meddle(self, request: Request, below: Below) -> Reply:
        """Split all."""
        reply = below(request)
        if not (reply.extents and self.strikes(request)):
            return reply
        for name, extents in reply.extents.items():
            reply.extents[name] = [
                Extent(min(512, extent.length - at), extent.flags)
                for extent in extents
                for at in range(0, min(extent.length, 1 << 30), 512)
            ]
        return reply
