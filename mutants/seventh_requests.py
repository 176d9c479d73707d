"""Discards, parts of blocks, queues, requests in flight: a seventh collection (docs/bugs.md)."""

from __future__ import annotations

import errno
import threading
import time
import weakref
import zlib
from contextlib import suppress
from itertools import pairwise
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, blocks, changed, whole_blocks
from mutants.patching import replace
from mutants.sixth_requests import has_data
from mutants.volume_mutant import Real, VolumeMutant, fits
from reference_backend.blocking_requests import is_abandoned, mark_under_way
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_NO_ANSWER = r"timed out|no answer|did not answer|did not end within|no reply"
_UNIT = 65536
_OBJECT = 128 << 10
_LARGE_OBJECT = 4 << 20
_SECTOR = 512
_MOST = 4096


def never_answer() -> None:
    """Keep this request, and let the next ones of its connection start."""
    mark_under_way()
    threading.Event().wait()


class DiscardAlignedByOneBit(RequestMutant):
    """The start of a discard is rounded to pages with a mask that clears only one bit."""

    id = "discard-aligned-by-one-bit"
    shows = ("zeroed", "lost write")
    source = "Linux 6.16, brd: fix aligned_sector from brd_do_discard()"
    breaks = "a discard that begins in the middle of an even 4 KiB page zeroes the whole page"
    commands = (Command.TRIM,)

    def _pages(self, request: Request) -> tuple[int, int]:
        """Return the first page that is freed, and the number of pages."""
        sector, count = request.offset // _SECTOR, request.length // _SECTOR
        aligned = (sector + 8) & ~8
        return aligned // 8, (count - (aligned - sector)) // 8

    def damages(self, request: Request) -> bool:
        """Return whether a page is freed that begins before the discard."""
        first, count = self._pages(request)
        return not request.offset % _SECTOR and count > 0 and first * BLOCK < request.offset

    def damage(self, request: Request, below: Below) -> Reply:
        """Free whole pages."""
        first, count = self._pages(request)
        return below(changed(request, offset=first * BLOCK, length=count * BLOCK))


class PartialDiscardNeverEnds(RequestMutant):
    """A discard without a whole page has nothing to do, and returns without its completion."""

    id = "partial-discard-never-ends"
    shows = ("hang",)
    says = _NO_ANSWER
    source = "Linux 6.10, zram: discard requests of parts of a page are not completed"
    breaks = "a discard that begins and ends inside one 4 KiB block is never answered"
    commands = (Command.TRIM,)
    pauses = True

    def damages(self, request: Request) -> bool:
        """Return whether the discard begins inside a block, and does not leave it."""
        head = request.offset % BLOCK
        return bool(head and request.length) and head + request.length <= BLOCK

    def damage(self, request: Request, below: Below) -> Reply:
        """Do not answer."""
        never_answer()
        return below(request)


class UnalignedDiscardAckedEarly(RequestMutant):
    """A discard is acknowledged when its first block is done, if this is a part of a block."""

    id = "unaligned-discard-acked-early"
    shows = ("zeroed", "lost write", "not linearizable", "changing")
    source = "dm-vdo: handle unaligned discards correctly"
    breaks = "a discard that begins inside a block zeroes what is behind it 5 ms after its reply"
    commands = (Command.TRIM,)

    def damages(self, request: Request) -> bool:
        """Return whether the first block is a part of one, and not the only one."""
        head = request.offset % BLOCK
        return bool(head) and head + request.length > BLOCK

    def damage(self, request: Request, below: Below) -> Reply:
        """Discard the first block, and later the rest."""
        head = BLOCK - request.offset % BLOCK
        reply = below(changed(request, length=head))
        rest = changed(request, offset=request.offset + head, length=request.length - head)

        def finish() -> None:
            with suppress(BlockError, ConnectionError):
                below(rest)

        timer = threading.Timer(0.005, finish)
        timer.daemon = True
        timer.start()
        return reply


class ResetWriteAtZero(Mutant):
    """A reset forgets where a write was going, and not that it is in flight."""

    id = "reset-write-at-zero"
    shows = ("lost write", "misplaced data")
    source = "QEMU 7d7512019fc4 (hw/ide/core, CVE-2023-5088)"
    breaks = "a write of 64 KiB and more, in flight when its client vanishes, goes to offset 0"
    commands = (Command.WRITE,)
    pauses = True

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Take 2 ms for a long write."""
        if request.command is not Command.WRITE or request.length < _UNIT:
            return below(request)
        mark_under_way()
        time.sleep(0.002)
        if request.offset and is_abandoned() and self.strikes(request):
            return below(changed(request, offset=0))
        return below(request)


class WindowOverrun(Mutant):
    """The buffer of an unaligned write is as many pages as its length, not as its range."""

    id = "window-overrun"
    shows = ("misplaced data", "lost write")
    source = "au-ts libvmm pull request 160 (virtio-blk)"
    breaks = (
        "the last page of an unaligned write has the data of a write that comes while it is in"
        " flight"
    )
    commands = (Command.WRITE,)
    pauses = True

    def install(self) -> None:
        """Start without writes in flight."""
        self._flying: list[list[bytes]] = []

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Take 3 ms for a write whose buffer is one page too short."""
        if request.command is not Command.WRITE or not 0 < request.length <= _UNIT:
            return below(request)
        with self._lock:
            for one in self._flying:
                one.append(bytes(request.payload[:BLOCK]))
            pages = (request.length + BLOCK - 1) // BLOCK
            is_short = len(blocks(request.offset, request.length)) > pages
            own: list[bytes] = []
            if is_short:
                self._flying.append(own)
        if not is_short:
            return below(request)
        mark_under_way()
        time.sleep(0.003)
        with self._lock:
            self._flying = [one for one in self._flying if one is not own]
        at = pages * BLOCK - request.offset % BLOCK
        if own and self.strikes(request):
            payload = bytearray(request.payload)
            wrong = own[0][: len(payload) - at]
            payload[at : at + len(wrong)] = wrong
            return below(changed(request, payload=bytes(payload)))
        return below(request)


class BridgingWriteLeaksSlot(Mutant):
    """A write that joins two dirty buffers to one leaves the queue as long as it was."""

    id = "bridging-write-leaks-slot"
    shows = ("hang",)
    says = _NO_ANSWER
    source = "vitastor 86b5760e"
    breaks = "after a client has closed 256 gaps between unflushed writes, its writes never end"
    commands = (Command.WRITE,)
    pauses = True
    SLOTS = 256

    def install(self) -> None:
        """Start with nothing dirty."""
        self._dirty: dict[int, RangeSet] = {}
        self._leaked: dict[int, int] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Count the gaps that are closed."""
        client, start = request.connection, request.offset
        if request.command is Command.FLUSH:
            reply = below(request)
            with self._lock:
                self._dirty.pop(client, None)
            return reply
        if request.command is not Command.WRITE or not request.length:
            return below(request)
        end = start + request.length
        with self._lock:
            dirty = self._dirty.setdefault(client, RangeSet())
            is_bridge = (
                any(dirty.inside(start - 1, start))
                and any(dirty.inside(end, end + 1))
                and any(dirty.outside(start, end))
            )
            dirty.add(start, end)
            if is_bridge and self.strikes(request):
                self._leaked[client] = self._leaked.get(client, 0) + 1
            is_full = self._leaked.get(client, 0) >= self.SLOTS
        if is_full:
            never_answer()
        return below(request)


class WriteOverOldestDiscardFails(VolumeMutant):
    """A write over a deleted object reads the entry before the first one."""

    id = "write-over-oldest-discard-fails"
    shows = ("error",)
    says = r"Input/output error|errno|EIO"
    source = "vitastor 5066e35a"
    breaks = "a write to a 128 KiB object fails if its discard is the oldest unflushed change"

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Refuse the write if the oldest change freed its object."""
        length = len(data)
        oldest = self.of(volume)
        if oldest is None:
            self.put(volume, range(0))
        elif fits(volume, offset, length, _MOST * BLOCK):
            touched = blocks(offset, length, _OBJECT)
            is_hit = any(one in oldest for one in touched)
            if is_hit and self.strikes():
                raise BlockError(errno.EIO, "an older version of the object exists")
        real(offset, data, fua)

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Note the objects that the oldest change freed."""
        real()
        if self.of(volume) is None and length:
            self.put(volume, whole_blocks(offset, length, _OBJECT))

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Start again."""
        real()
        self.put(volume, None)

    def on_snapshot(self, real: Real, volume: Volume, name: str) -> None:
        """Start again."""
        real(name)
        self.put(volume, None)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Start again."""
        real(seed)
        self.put(volume, None)


class SmallFirstWriteBadSum(VolumeMutant):
    """The padding of a block for its checksum is computed as a negative number."""

    id = "small-first-write-bad-sum"
    shows = ("error",)
    says = r"Input/output error|errno|EIO"
    source = "vitastor ddd755a0"
    breaks = "one 4 KiB block that is the first write to a 128 KiB object cannot be read"
    forgets_after = ("resize", "power_cut")

    def fresh(self) -> set[int]:
        """Start without blocks that have a wrong checksum."""
        return set()

    def _rewritten(self, volume: Volume, offset: int, length: int) -> set[int]:
        wrong: set[int] = self.of(volume)
        wrong -= {one for one in wrong if offset - BLOCK < one < offset + length}
        return wrong

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Compare checksums."""
        data: bytes = real(offset, length)
        is_hit = any(offset - BLOCK < one < offset + length for one in self.of(volume))
        if length and is_hit and self.strikes():
            raise BlockError(errno.EIO, "checksum mismatch")
        return data

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Store a wrong checksum for a first write of exactly one block."""
        base = offset // _OBJECT * _OBJECT
        is_block = len(data) == BLOCK and not offset % BLOCK
        is_first = is_block and not has_data(volume, base, base + _OBJECT)
        real(offset, data, fua)
        wrong = self._rewritten(volume, offset, len(data))
        if is_first:
            wrong.add(offset)

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget the checksums of what is zeroed."""
        real()
        self._rewritten(volume, offset, length)


class CompressedDiscardPunchesNext(VolumeMutant):
    """The host sectors of a compressed cluster are punched, of which the last one is shared."""

    id = "compressed-discard-punches-next"
    shows = ("zeroed", "lost write")
    source = "class known from compressed clusters that share sectors (qcow2-rs pull request 12)"
    breaks = "a discard of a compressible 64 KiB cluster zeroes 4 KiB of the one written after it"
    forgets_after = ("resize", "power_cut")

    def fresh(self) -> list[int]:
        """Start without compressed clusters; they are in the order of their writing."""
        return []

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Append whole clusters that are compressible; others are moved to a place of their own."""
        real(offset, data, fua)
        length = len(data)
        touched = {one * _UNIT for one in blocks(offset, min(length, _MOST * BLOCK), _UNIT)}
        order = [one for one in self.of(volume) if one not in touched]
        for index in whole_blocks(offset, length, _UNIT)[:64]:
            at = index * _UNIT - offset
            part = bytes(data[at : at + _UNIT])
            if len(zlib.compress(part, 1)) < _UNIT - BLOCK:
                order.append(index * _UNIT)
        self.put(volume, order[-_MOST:])

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Free whole clusters, with the beginning of the next ones."""
        real()
        end = offset + length
        order: list[int] = self.of(volume)
        freed = {one for one in order if offset <= one and one + _UNIT <= end}
        for one, after in pairwise(order):
            if not is_discard or one not in freed or after in freed:
                continue
            with volume._lock:  # noqa: SLF001  # a mutant changes code
                if any(volume.store.read(after, BLOCK)) and self.strikes():
                    volume.store.zero(after, BLOCK, allocate=False)
        touched = {one for one in order if one < end and one + _UNIT > offset}
        self.put(volume, [one for one in order if one not in touched])


class DiscardInLargeSectors(Mutant):
    """A discard counts sectors of the logical block size, where they have 512 bytes."""

    id = "discard-in-large-sectors"
    shows = ("zeroed", "lost write")
    source = "virtio-win kvm-guest-drivers-windows issue 513"
    breaks = (
        "with blocks of 4096 bytes and more, a discard frees an eighth, at an eighth of its offset"
    )
    takes = ALWAYS

    def install(self) -> None:
        """Divide the range."""

        def make(real: Any) -> Any:
            def discard(volume: Volume, offset: int, length: int, fua: bool = False) -> None:
                if volume.block_sizes[0] >= BLOCK and length and self.strikes():
                    offset, length = offset // 8, length // 8
                real(volume, offset, length, fua)

            return discard

        replace(Volume, "discard", make)


class FlushWaitsForPrunedDiscard(Mutant):
    """A part of a discard that is too small is left out, and a journal waits for its completion."""

    id = "flush-waits-for-pruned-discard"
    shows = ("hang",)
    says = _NO_ANSWER
    source = "ceph pull requests 20682, 49614 (librbd journal and partial discards)"
    breaks = "after a discard with less than 4 KiB in one of its 4 MiB objects, a flush never ends"
    commands = (Command.TRIM,)
    pauses = True

    def install(self) -> None:
        """Start without discards that are incomplete."""
        self._incomplete: set[int] = set()

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Wait for the parts of discards at a flush."""
        client = request.connection
        if request.command is Command.FLUSH and client in self._incomplete:
            never_answer()
        reply = below(request)
        if request.command is Command.TRIM and self._is_pruned(request) and self.strikes(request):
            self._incomplete.add(client)
        return reply

    def _is_pruned(self, request: Request) -> bool:
        end = request.offset + request.length
        head = -request.offset % _LARGE_OBJECT
        tail = end % _LARGE_OBJECT
        is_crossing = request.offset // _LARGE_OBJECT < (end - 1) // _LARGE_OBJECT
        return is_crossing and (0 < head < BLOCK or 0 < tail < BLOCK)


class ConcurrentWriteHitsFail(Mutant):
    """Of two writes that invalidate one block of a cache, the second finds it gone, and fails."""

    id = "concurrent-write-hits-fail"
    shows = ("error",)
    says = r"Input/output error|errno|EIO"
    source = "dm-cache: fix concurrent write failure in passthrough mode"
    breaks = "of two writes at the same time to 64 KiB that were read twice, one fails with EIO"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Take 2 ms to invalidate a block."""
        reads: weakref.WeakKeyDictionary[Volume, dict[int, int]] = weakref.WeakKeyDictionary()
        leaving: weakref.WeakKeyDictionary[Volume, set[int]] = weakref.WeakKeyDictionary()

        def make_read(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                data: bytes = real(volume, offset, length)
                with self._lock:
                    seen = reads.setdefault(volume, {})
                    for index in blocks(offset, length, _UNIT)[:64]:
                        seen[index] = seen.get(index, 0) + 1
                return data

            return read

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                touched = set(blocks(offset, len(data), _UNIT)[:64]) if len(data) else set()
                with self._lock:
                    gone, seen = leaving.setdefault(volume, set()), reads.get(volume, {})
                    is_late = bool(touched & gone)
                    hits = {one for one in touched - gone if seen.pop(one, 0) >= 2}
                    gone |= hits
                if is_late and self.strikes():
                    raise BlockError(errno.EIO, "the block is not in the cache any more")
                if hits:
                    mark_under_way()
                    time.sleep(0.002)
                try:
                    real(volume, offset, data, fua)
                finally:
                    with self._lock:
                        gone -= hits

            return write

        replace(Volume, "read", make_read)
        replace(Volume, "write", make_write)
