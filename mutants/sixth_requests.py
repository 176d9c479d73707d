"""Two and three requests at the same time, caches, pauses: a sixth collection (docs/bugs.md)."""

from __future__ import annotations

import threading
import time
import weakref
from collections import deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, blocks, changed, whole_blocks
from mutants.patching import replace
from mutants.volume_mutant import Real, Span, VolumeMutant, apart
from reference_backend.blocking_requests import mark_under_way
from reference_backend.store.volume import Volume

_UNIT = 65536
_STRIPE = 512 << 10
_LONG = 4 << 20
_MOST = 256


def has_data(volume: Volume, start: int, end: int) -> bool:
    """Return whether a range of a volume, whose lock is free, holds written blocks."""
    with volume._lock:  # noqa: SLF001  # a mutant changes code
        return any(True for _ in volume.store.data(start, min(end, volume.size)))


class LatePunchHitsNewData(Mutant):
    """A cluster that a discard frees is new again after a flush, and punched later still."""

    id = "late-punch-hits-new-data"
    shows = ("zeroed", "lost write", "not linearizable")
    source = "cloud-hypervisor pull request 8624"
    breaks = "a first write to a unit is zeroed if a flush and a discard were in flight with it"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Take 2 ms for each discard that frees a unit."""
        flushes: weakref.WeakKeyDictionary[Volume, int] = weakref.WeakKeyDictionary()
        new: weakref.WeakKeyDictionary[Volume, deque[tuple[int, int, int]]] = (
            weakref.WeakKeyDictionary()
        )

        def make_flush(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                real(volume)
                flushes[volume] = flushes.get(volume, 0) + 1

            return flush

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                base = offset // _UNIT * _UNIT
                is_new = not has_data(volume, base, base + _UNIT)
                real(volume, offset, data, fua)
                if is_new and data:
                    spans = new.setdefault(volume, deque(maxlen=_MOST))
                    spans.append((flushes.get(volume, 0), offset, len(data)))

            return write

        def make_zero(real: Any) -> Any:
            def zero(volume: Volume, offset: int, length: int, *rest: Any, **named: Any) -> None:
                whole = whole_blocks(offset, length, _UNIT)
                is_freed = bool(whole) and has_data(volume, whole[0] * _UNIT, whole[-1] * _UNIT + 1)
                before = flushes.get(volume, 0)
                new.pop(volume, None)
                real(volume, offset, length, *rest, **named)
                if not is_freed:
                    return
                mark_under_way()
                time.sleep(0.002)
                for flushed, at, size in list(new.get(volume, ())):
                    if flushed > before and self.strikes():
                        with volume._lock:  # noqa: SLF001  # a mutant changes code
                            volume.store.zero(at, size, allocate=False)
                        return

            return zero

        replace(Volume, "flush", make_flush)
        replace(Volume, "write", make_write)
        replace(Volume, "write_zeroes", make_zero)
        replace(Volume, "discard", make_zero)


class TrimHeadNotCapped(RequestMutant):
    """The unaligned head of a discard is zeroed up to the next block, also if it ends before."""

    id = "trim-head-not-capped"
    shows = ("zeroed", "lost write")
    source = "moby hyperkit pull request 187"
    breaks = "a discard inside a 4 KiB block zeroes that block to its end"
    commands = (Command.TRIM,)

    def damages(self, request: Request) -> bool:
        """Return whether the discard begins and ends inside one block."""
        end = request.offset + request.length
        is_inside = request.offset // BLOCK == (end - 1) // BLOCK
        return bool(request.length and request.offset % BLOCK and end % BLOCK) and is_inside

    def damage(self, request: Request, below: Below) -> Reply:
        """Discard up to the end of the block, if that is inside the volume."""
        try:
            return below(changed(request, length=BLOCK - request.offset % BLOCK))
        except BlockError:
            return below(request)


class MergedWriteAppliedAgain(Mutant):
    """A write that was merged with the one before it is carried out with it, and alone."""

    id = "merged-write-applied-again"
    shows = ("lost write", "stale", "not linearizable", "misplaced data")
    source = "glusterfs issue 884 (write-behind)"
    breaks = "a write behind one in flight is repeated when that one ends, over what came after it"
    commands = (Command.WRITE,)
    pauses = True

    def install(self) -> None:
        """Start without writes in flight."""
        self._leaders: dict[int, list[Request]] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Take 0.3 ms for a write, and 3 ms if another one continues it."""
        if request.command is not Command.WRITE or not 0 < request.length <= _UNIT:
            return below(request)
        mark_under_way()
        followers: list[Request] = []
        end = request.offset + request.length
        with self._lock:
            leader = self._leaders.get(request.offset)
            if leader is not None and not leader:
                leader.append(changed(request, payload=bytes(request.payload)))
            elif leader is None:
                self._leaders[end] = followers
        if leader is not None:
            return below(request)
        time.sleep(0.0003)
        if followers:
            time.sleep(0.003)
        with self._lock:
            self._leaders.pop(end, None)
        reply = below(request)
        for follower in followers:
            if self.strikes(follower):
                below(follower)
        return reply


class CachedLate(VolumeMutant):
    """What is read waits before it is in a cache, and a write looks only into the cache.

    The cache and what waits for it have the data of each block by its offset in bytes.
    """

    forgets_after = ("resize", "power_cut")

    def fresh(self) -> tuple[dict[int, bytes], dict[int, bytes]]:
        """Start with an empty cache, and nothing that waits."""
        return {}, {}

    def cached(self, volume: Volume, offset: int, data: bytes) -> bytes:
        """Return what a read of a block or a part of one returns if the block is in the cache."""
        old = self.of(volume)[0].get(offset)
        old = None if old is None else old[: len(data)]
        return old if old not in {None, data} and self.strikes() else data

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Invalidate what is in the cache, and not what waits."""
        real(offset, data, fua)
        cache, _ = self.of(volume)
        if len(data) > BLOCK * _MOST:
            cache.clear()
        for index in blocks(offset, min(len(data), BLOCK * _MOST)):
            cache.pop(index * BLOCK, None)

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Invalidate both."""
        real()
        self.put(volume, self.fresh())


class ReadBatchCachedLate(CachedLate):
    """What is read goes into a cache in batches, and a write looks only into the cache."""

    id = "read-batch-cached-late"
    shows = ("stale", "lost write")
    source = "dm-writeboost issue 131 (read caching)"
    breaks = "a block that was read, then written, is old again once 32 blocks have been read"
    BATCH = 32

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Read whole blocks through the cache."""
        data: bytes = real(offset, length)
        if length != BLOCK or offset % BLOCK:
            return data
        cache, batch = self.of(volume)
        if offset in cache:
            return self.cached(volume, offset, data)
        batch.setdefault(offset, data)
        if len(batch) >= self.BATCH:
            if len(cache) > 4 * _MOST:
                cache.clear()
            cache.update(batch)
            batch.clear()
        return data


class IdleTrimZeroesPayload(Mutant):
    """The pages of idle buffers are given back, although a request has arrived in one of them."""

    id = "idle-trim-zeroes-payload"
    shows = ("zeroed", "lost write", "not linearizable")
    source = "libublk-rs issue 48"
    breaks = "of writes that arrive together after a pause, the second begins with a page of zeroes"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start the clock."""
        self._before_s = self._woken_s = clock.now_s()
        self._count = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Zero the first page of the second write within 2 ms after 0.3 s of idleness."""
        now_s = clock.now_s()
        with self._lock:
            if now_s - self._before_s >= 0.3:
                self._woken_s, self._count = now_s, 0
            self._before_s = now_s
            is_write = request.command is Command.WRITE and request.length >= BLOCK
            self._count += is_write
            is_hit = is_write and self._count == 2 and now_s - self._woken_s < 0.002
        if is_hit and any(request.payload[:BLOCK]) and self.strikes(request):
            return below(changed(request, payload=bytes(BLOCK) + bytes(request.payload[BLOCK:])))
        return below(request)


class FirstPartWritesZeroEachOther(Mutant):
    """Two writes of parts of a block that has no data each zero the rest of it."""

    id = "first-part-writes-zero-each-other"
    shows = ("zeroed", "lost write", "not linearizable")
    source = "Linux e9e3bcecf44c (ext4: unaligned asynchronous DIO)"
    breaks = "of two first writes to parts of one 4 KiB block at the same time, one is lost"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Zero the rest of a new block 0.5 ms after looking at it."""

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                length = len(data)
                base = offset // BLOCK * BLOCK
                is_part = 0 < length < BLOCK and offset + length <= base + BLOCK <= volume.size
                if not is_part or has_data(volume, base, base + BLOCK):
                    real(volume, offset, data, fua)
                    return
                mark_under_way()
                time.sleep(0.0005)
                if not self.strikes():
                    real(volume, offset, data, fua)
                    return
                whole = bytearray(BLOCK)
                whole[offset - base : offset - base + length] = data
                real(volume, base, bytes(whole), fua)

            return write

        replace(Volume, "write", make)


class LongDiscardFromStripe(RequestMutant):
    """A long discard is split over stripes, and begins at the beginning of the first one."""

    id = "long-discard-from-stripe"
    shows = ("zeroed", "lost write")
    source = "Linux md/raid10: the discard improvements of 5.10, reverted because of lost data"
    breaks = "a discard of 4 MiB and more begins at the 512 KiB stripe in which it should begin"
    commands = (Command.TRIM,)

    def damages(self, request: Request) -> bool:
        """Return whether it is long, and begins inside a stripe."""
        return request.length >= _LONG and bool(request.offset % _STRIPE)

    def damage(self, request: Request, below: Below) -> Reply:
        """Begin at the stripe."""
        head = request.offset % _STRIPE
        return below(changed(request, offset=request.offset - head, length=request.length + head))


class ReadMissesDataBeingFlushed(Mutant):
    """A flush takes the cached writes out of the table before they are in the store."""

    id = "read-misses-data-being-flushed"
    shows = ("stale", "lost write", "not linearizable", "changing", "misplaced data")
    source = "ZeroFS pull request 265 (read after write under load)"
    breaks = "a read during a flush shows what was there before the writes that are being flushed"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Take 1 ms for a flush."""
        pending: weakref.WeakKeyDictionary[Volume, list[Span]] = weakref.WeakKeyDictionary()
        moving: weakref.WeakKeyDictionary[Volume, list[Span]] = weakref.WeakKeyDictionary()

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                length = len(data)
                is_kept = 0 < length <= _UNIT and offset + length <= volume.size
                with self._lock:
                    old = volume.read(offset, length) if is_kept else b""
                    real(volume, offset, data, fua)
                    moving[volume] = apart(moving.get(volume, []), offset, length)
                    if is_kept:
                        spans = pending.setdefault(volume, [])
                        spans.append((offset, old))
                        del spans[:-_MOST]

            return write

        def make_forget(real: Any) -> Any:
            def act(volume: Volume, *arguments: Any, **named: Any) -> Any:
                pending.pop(volume, None)
                moving.pop(volume, None)
                return real(volume, *arguments, **named)

            return act

        def make_flush(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                with self._lock:
                    moving[volume] = pending.pop(volume, [])
                mark_under_way()
                time.sleep(0.001)
                moving.pop(volume, None)
                real(volume)

            return flush

        def make_read(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                with self._lock:
                    data: bytes = real(volume, offset, length)
                    wrong = bytearray(data)
                    for at, old in reversed(moving.get(volume, [])):
                        first, after = max(at, offset), min(at + len(old), offset + length)
                        if first < after:
                            wrong[first - offset : after - offset] = old[first - at : after - at]
                is_hit = wrong != data and self.strikes()
                return bytes(wrong) if is_hit else data

            return read

        replace(Volume, "write", make_write)
        replace(Volume, "flush", make_flush)
        replace(Volume, "read", make_read)
        for name in ("write_zeroes", "discard", "resize", "snapshot", "power_cut"):
            replace(Volume, name, make_forget)


class FailedWriteNotTracked(Mutant):
    """A write that fails has changed a part of its range, and the bitmap only knows successes."""

    id = "failed-write-not-tracked"
    shows = ("block status",)
    says = r"dirty|clean|tracked"
    source = "class known from dirty bitmaps (DRBD: a failed write sets blocks out of sync)"
    breaks = "a write that fails has changed its first sector, which is not dirty"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Let one write of this thread be untracked."""
        self._thread = threading.local()

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                dirty = volume._dirty  # noqa: SLF001  # a mutant changes code
                if not getattr(self._thread, "is_untracked", False) or dirty is None:
                    real(volume, offset, data, fua)
                    return
                first, after = offset >> 12, (offset + len(data) + BLOCK - 1) >> 12
                was = list(dirty.inside(first, after))
                real(volume, offset, data, fua)
                dirty.remove(first, after)
                for start, end in was:
                    dirty.add(start, end)

            return write

        replace(Volume, "write", make)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Write the first sector of a write that failed."""
        try:
            reply = below(request)
        except BlockError:
            self._write_first(request, below)
            raise
        if reply.error:
            self._write_first(request, below)
        return reply

    def _write_first(self, request: Request, below: Below) -> None:
        if request.command is not Command.WRITE or not request.length or not self.strikes(request):
            return
        self._thread.is_untracked = True
        try:
            below(changed(request, payload=bytes(request.payload[:512])))
        except BlockError:
            return
        finally:
            self._thread.is_untracked = False


class DedupLinksBeforeDone(Mutant):
    """A block that equals one in flight is linked to its place when that one is written."""

    id = "dedup-links-before-done"
    shows = ("misplaced data", "lost write", "not linearizable")
    source = "class known from deduplication of writes in flight (VDO, hash locks)"
    breaks = "of two equal blocks in flight, the second shows what overwrites the first 1 ms later"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Take 0.3 ms for a block, and 1 ms more for a block that is linked."""
        flying: dict[tuple[int, bytes], int] = {}

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                is_block = len(data) == BLOCK and not offset % BLOCK
                if not is_block or offset + BLOCK > volume.size or not any(data):
                    real(volume, offset, data, fua)
                    return
                mark_under_way()
                key = id(volume), bytes(data)
                with self._lock:
                    first = flying.setdefault(key, offset)
                time.sleep(0.0003)
                if first != offset:
                    time.sleep(0.001)
                    there = volume.read(first, BLOCK)
                    if there != data and self.strikes():
                        data = there
                real(volume, offset, data, fua)
                with self._lock:
                    if first == offset:
                        flying.pop(key, None)

            return write

        replace(Volume, "write", make)
