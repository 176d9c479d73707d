"""Zeroes, discards, holes and their block status (docs/bugs.md, group D)."""

from __future__ import annotations

import hashlib

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO, Extent
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.mutant import (
    BLOCK,
    Mutant,
    ReplyMutant,
    RequestMutant,
    StatusMutant,
    blocks,
    changed,
    whole_blocks,
    without,
)

MIB = 1 << 20
ALLOCATION = "base:allocation"


class WriteZeroesNoop(RequestMutant):
    """A write zeroes is acknowledged and not carried out."""

    id = "write-zeroes-noop"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "QEMU 7fa84cd8d4, nbd-server 3.24 beyond 64 MiB"
    breaks = "write zeroes does nothing"
    commands = (Command.WRITE_ZEROES,)

    def damage(self, request: Request, below: Below) -> Reply:
        """Acknowledge the request."""
        return Reply()


class WriteZeroesTruncated(RequestMutant):
    """A long write zeroes is cut short."""

    id = "write-zeroes-truncated"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "nbd-server 3.24 (docs/findings.md)"
    breaks = "write zeroes zeroes only its first 64 MiB"
    commands = (Command.WRITE_ZEROES,)
    MOST = 64 * MIB

    def damages(self, request: Request) -> bool:
        """Return whether the request is longer than one call can be."""
        return request.length > self.MOST

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero what one call can."""
        return below(changed(request, length=self.MOST))


class DiscardOverreach(RequestMutant):
    """A discard is rounded outward."""

    id = "discard-overreach"
    shows = ("zeroed", "torn")
    source = "QEMU and SPDK discard rounding (docs/bugs.md)"
    breaks = "a discard discards all 64 KiB units that it touches"
    commands = (Command.TRIM,)
    UNIT = 65536

    def damages(self, request: Request) -> bool:
        """Return whether there is a range."""
        return request.length > 0

    def damage(self, request: Request, below: Below) -> Reply:
        """Discard whole units; discard what was requested at the end of the volume."""
        start = request.offset & -self.UNIT
        end = (request.offset + request.length + self.UNIT - 1) & -self.UNIT
        try:
            return below(changed(request, offset=start, length=end - start))
        except BlockError:
            return below(request)


class ZeroViaNondeterministicDiscard(RequestMutant):
    """Ranges are zeroed by a discard, which discards whole units only."""

    id = "zero-via-nondeterministic-discard"
    shows = ("missing zeroes",)
    says = r"not zero"
    source = "Linux and QEMU discard_zeroes_data (docs/bugs.md)"
    breaks = "write zeroes zeroes whole MiB only, and leaves the edges unchanged"
    commands = (Command.WRITE_ZEROES,)

    def damage(self, request: Request, below: Below) -> Reply:
        """Pass the whole units on."""
        units = whole_blocks(request.offset, request.length, MIB)
        if not units:
            return Reply()
        return below(changed(request, offset=units.start * MIB, length=len(units) * MIB))


class FalseZeroInit(ReplyMutant):
    """A new volume holds what its disk held before."""

    id = "false-zero-init"
    shows = ("unknown", "block status")
    says = r"not all zeroes|not zero"
    source = "QEMU has_zero_init on reused storage (docs/bugs.md)"
    breaks = "what was never written reads as noise, but is reported as zero"
    commands = (Command.READ,)

    def install(self) -> None:
        """Start with no block written."""
        self._written: set[int] = set()

    def observe(self, request: Request) -> None:
        """Note the blocks that are written, zeroed or discarded."""
        if request.command in (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM):
            touched = blocks(request.offset, request.length)
            if len(touched) <= 1 << 18:
                self._written.update(touched)

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether a block was never written."""
        return not self._written.issuperset(blocks(request.offset, request.length))

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Replace the blocks that were never written with noise."""
        data = bytearray(reply.data)
        for number in whole_blocks(request.offset, request.length):
            if number not in self._written:
                at = number * BLOCK - request.offset
                data[at : at + BLOCK] = noise(number)
        reply.data = bytes(data)


def noise(number: int) -> bytes:
    """Return the old bytes of a block of a reused disk."""
    return hashlib.shake_128(number.to_bytes(8, "big")).digest(BLOCK)


class ZeroFlagsLost(RequestMutant):
    """NO_HOLE is ignored."""

    id = "zero-flags-lost"
    says = r"NO_HOLE|hole|FAST_ZERO"
    source = "QEMU and nbdkit flag translation (docs/bugs.md)"
    breaks = "write zeroes with NO_HOLE creates a hole"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether the request has NO_HOLE."""
        return bool(request.flags & CommandFlag.NO_HOLE)

    def damage(self, request: Request, below: Below) -> Reply:
        """Remove the flag."""
        return below(without(request, CommandFlag.NO_HOLE))


class StatusHoleOverDirty(StatusMutant):
    """Block status ignores data that was not flushed."""

    id = "status-hole-over-dirty"
    shows = ("zeroed", "lost", "block status")
    says = r"status|hole|is lost"
    source = "QEMU and ZFS SEEK_HOLE over dirty data (docs/bugs.md)"
    breaks = "a range with an unflushed write is reported as a hole that reads as zero"

    def install(self) -> None:
        """Start with everything flushed."""
        self._dirty: list[tuple[int, int]] = []

    def observe(self, request: Request) -> None:
        """Note the ranges of the last 32 writes since a flush."""
        if request.command is Command.WRITE:
            self._dirty.append((request.offset, request.offset + request.length))
            del self._dirty[:-32]
        elif request.command is Command.FLUSH:
            self._dirty.clear()

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the range has an unflushed write."""
        end = request.offset + request.length
        is_dirty = any(first < end and after > request.offset for first, after in self._dirty)
        return ALLOCATION in reply.extents and is_dirty

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Report a hole."""
        reply.extents[ALLOCATION] = [Extent(request.length, STATE_HOLE | STATE_ZERO)]


class ExtentsUnsorted(StatusMutant):
    """Extents are returned in the wrong order."""

    id = "extents-unsorted"
    shows = ("block status",)
    says = r"extent|status"
    source = "QEMU rbd diff iteration (docs/bugs.md)"
    breaks = "the first two extents of a block status are swapped"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether there are two extents."""
        return len(reply.extents.get(ALLOCATION, ())) > 1

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Swap the first two."""
        first, second, *rest = reply.extents[ALLOCATION]
        reply.extents[ALLOCATION] = [second, first, *rest]


class AllocMapRoundingReadsZero(ReplyMutant):
    """The map of allocated clusters is rounded wrongly."""

    id = "alloc-map-rounding-reads-zero"
    shows = ("zeroed",)
    source = "docs/bugs.md, D12"
    breaks = "the last 64 KiB cluster that a write touches without filling it reads as zero"
    commands = (Command.READ,)
    CLUSTER = 65536

    def install(self) -> None:
        """Start with no cluster allocated."""
        self._map: set[int] = set()

    def observe(self, request: Request) -> None:
        """Mark clusters from offset // c up to, but not including, (offset + length) // c."""
        if request.command is Command.WRITE:
            first = request.offset // self.CLUSTER
            after = max((request.offset + request.length) // self.CLUSTER, first + 1)
            self._map.update(range(first, after))

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether a cluster is not in the map."""
        clusters = blocks(request.offset, request.length, self.CLUSTER)
        return not self._map.issuperset(clusters)

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Replace the clusters that are not in the map with zeroes."""
        data = bytearray(reply.data)
        for number in blocks(request.offset, request.length, self.CLUSTER):
            if number not in self._map:
                start = max(number * self.CLUSTER - request.offset, 0)
                stop = min((number + 1) * self.CLUSTER - request.offset, len(data))
                data[start:stop] = bytes(stop - start)
        reply.data = bytes(data)


class SparseTailDropped(RequestMutant):
    """Zero detection checks whole blocks only."""

    id = "sparse-tail-dropped"
    shows = ("zeroed", "bit flip", "lost", "torn", "altered")
    says = r"tail"
    source = "QEMU qemu-img convert and detect-zeroes tails (docs/bugs.md)"
    breaks = "a write that is zero except in its last partial block is stored as zeroes"
    commands = (Command.WRITE,)

    def damages(self, request: Request) -> bool:
        """Return whether all whole blocks of an odd write are zero."""
        if request.length <= BLOCK or request.length % BLOCK == 0:
            return False
        return not any(bytes(request.payload)[: request.length & -BLOCK])

    def damage(self, request: Request, below: Below) -> Reply:
        """Write zeroes."""
        return below(changed(request, payload=bytes(request.length)))


class PreviousTenantData(Mutant):
    """A block that is used again still holds its old data."""

    id = "previous-tenant-data"
    shows = ("stale", "foreign", "torn", "never written", "unknown")
    says = r"not zero"
    source = "thin pools that do not clear on reuse (docs/bugs.md)"
    breaks = "the first write to a discarded block restores the old bytes around it"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start with no free block."""
        self._free: dict[int, bytes] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep discarded data, and restore it when the block is used again."""
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


class StatusUnalignedEof(StatusMutant):
    """Extents end inside a block."""

    id = "status-unaligned-eof"
    shows = ("block status",)
    says = r"status"
    source = "QEMU 737d3f5244, 9c3db310ff"
    breaks = "the first extent of a block status ends after 100 bytes, whatever the block size"

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Split the first extent."""
        for name, extents in reply.extents.items():
            first = extents[0]
            if first.length > 512:
                parts = [Extent(100, first.flags), Extent(first.length - 100, first.flags)]
                reply.extents[name] = [*parts, *extents[1:]]


class ExtentsBlowup(StatusMutant):
    """Extents are not merged."""

    id = "extents-blowup"
    shows = ("hang",)
    says = r"did not answer|timed out|extents"
    source = "nbdkit 6e0dc839"
    breaks = "block status returns an extent for each 512 bytes, without a limit"

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Split all extents."""
        for name, extents in reply.extents.items():
            reply.extents[name] = [
                Extent(min(512, extent.length - at), extent.flags)
                for extent in extents
                for at in range(0, min(extent.length, 1 << 30), 512)
            ]
