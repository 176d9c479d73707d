"""Kinds that were written after the first collections, before a case ran (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import weakref
from collections import deque
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, changed, raising, read, whole_blocks, write
from mutants.patching import replace
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536
MIB = 1 << 20


def _chunks(store: MemoryStore) -> dict[int, Any]:
    return store._chunks  # noqa: SLF001  # a mutant changes code


class ZeroesDoneInBackground(Mutant):
    """Zeroes are acknowledged at once and carried out later, also over what came after them."""

    id = "zeroes-done-in-background"
    shows = ("zeroed", "lost write")
    source = "class known from lazy zeroing (thick volumes of Ceph and VMware)"
    breaks = "a write into zeroes of 32 KiB and more, two requests after them, is zeroed later"
    commands = (Command.WRITE_ZEROES,)

    def install(self) -> None:
        """Start with nothing to do."""
        self._later: deque[tuple[int, Request]] = deque()
        self._count = 0

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Zero now, and again four requests later."""
        with self._lock:
            self._count += 1
            while self._later and self._later[0][0] <= self._count:
                _, old = self._later.popleft()
                if self.strikes(old):
                    below(changed(old, flags=0))
            is_long = _UNIT // 2 <= request.length <= 4 * MIB
            reply = below(request)
            if request.command is Command.WRITE_ZEROES and is_long:
                self._later.append((self._count + 4, request))
            return reply


class DiscardReachesSnapshot(Mutant):
    """A discard frees blocks that a snapshot still uses."""

    id = "discard-reaches-snapshot"
    shows = ("zeroed", "lost", "changing", "lost write")
    says = r"unlike"
    source = "class known from discards below snapshots (dm-thin passdown of shared blocks)"
    breaks = "a discard of whole 64 KiB units also zeroes them in the newest snapshot"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Discard in the snapshot too."""

        def make(real: Any) -> Any:
            def discard(volume: Volume, offset: int, length: int, fua: bool = False) -> None:
                real(volume, offset, length, fua)
                store = volume.store
                if not isinstance(store, MemoryStore) or not store.snapshots():
                    return
                frozen = store.open_snapshot(store.snapshots()[-1])
                units = whole_blocks(offset, min(length, frozen.size - offset), _UNIT)
                if units and self.strikes():
                    frozen.zero(units[0] * _UNIT, len(units) * _UNIT, allocate=False)

            return discard

        replace(Volume, "discard", make)


class CopyOfFirstChunkOnly(Mutant):
    """A write across two shared chunks copies the first one only."""

    id = "copy-of-first-chunk-only"
    shows = ("newer", "other write", "lost", "changing", "misplaced data", "lost write")
    says = r"unlike"
    source = "class known from copies before a write (librbd copy-up, dm-snapshot)"
    breaks = "a write across a multiple of 1 MiB changes the snapshots behind the boundary"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Write the second chunk in place."""

        def make(real: Any) -> Any:
            def write_(store: MemoryStore, offset: int, data: Any) -> None:
                first, last = offset // CHUNK_BYTES, (offset + len(data) - 1) // CHUNK_BYTES
                chunk = _chunks(store).get(last) if data and first < last else None
                if chunk is not None and chunk.shared and self.strikes():
                    chunk.shared = False
                real(store, offset, data)

            return write_

        replace(MemoryStore, "write", make)


class FuaEndsLogOfUnit(Mutant):
    """A write with FUA takes older entries of its unit out of the log."""

    id = "fua-ends-log-of-unit"
    shows = ("lost write",)
    source = "class known from write-through paths beside a log (dm-writecache)"
    breaks = "a write with FUA makes the next flush forget older writes to the same 64 KiB"
    takes = ALWAYS

    def install(self) -> None:
        """Keep what a flush forgets, and lose it in a power cut."""
        pending: weakref.WeakKeyDictionary[Volume, list[tuple[int, bytes]]] = (
            weakref.WeakKeyDictionary()
        )
        lost: weakref.WeakKeyDictionary[Volume, list[tuple[int, bytes]]] = (
            weakref.WeakKeyDictionary()
        )

        def without(entries: list[tuple[int, bytes]], start: int, end: int) -> list[Any]:
            return [one for one in entries if one[0] + len(one[1]) <= start or one[0] >= end]

        def make_write(real: Any) -> Any:
            def write_(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                end, unit = offset + len(data), offset // _UNIT
                if end > volume.size or len(data) > _UNIT:
                    pending.pop(volume, None)
                    lost.pop(volume, None)
                    real(volume, offset, data, fua)
                    return
                here = without(pending.get(volume, []), offset, end)
                lost[volume] = without(lost.get(volume, []), offset, end)
                if fua:
                    lost[volume] += [one for one in here if one[0] // _UNIT == unit]
                    here = [one for one in here if one[0] // _UNIT != unit]
                else:
                    here.append((offset, volume.store.read(offset, len(data))))
                pending[volume] = here[-64:]
                real(volume, offset, data, fua)

            return write_

        def make_forget(real: Any) -> Any:
            def forget(volume: Volume, *arguments: Any) -> Any:
                pending.pop(volume, None)
                lost.pop(volume, None)
                return real(volume, *arguments)

            return forget

        def make_flush(real: Any) -> Any:
            def flush(volume: Volume) -> None:
                real(volume)
                pending.pop(volume, None)

            return flush

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                for offset, old in lost.pop(volume, []):
                    if offset + len(old) <= volume.size and self.strikes():
                        volume._powered.write(offset, old)  # noqa: SLF001  # a mutant changes code
                pending.pop(volume, None)

            return power_cut

        replace(Volume, "write", make_write)
        replace(Volume, "flush", make_flush)
        replace(Volume, "power_cut", make_cut)
        for name in ("_zero", "resize"):
            replace(Volume, name, make_forget)


class UnalignedEndPadded(RequestMutant):
    """The last sector of an unaligned write is filled with what the buffer held."""

    id = "unaligned-end-padded"
    shows = ("misplaced data", "lost write", "torn", "altered")
    source = "class known from buffers that are used again (bounce buffers)"
    breaks = "a write that ends inside a sector fills it with bytes of the read before it"
    commands = (Command.WRITE,)

    def install(self) -> None:
        """Start without a buffer."""
        self._buffer: dict[int, bytes] = {}

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Keep the data of reads."""
        if request.command is Command.READ and request.length >= BLOCK:
            reply = below(request)
            self._buffer[request.connection] = bytes(reply.data[:512])
            return reply
        return super().carry_out(request, below)

    def damages(self, request: Request) -> bool:
        """Return whether the write ends inside a sector, after a read."""
        return (request.offset + request.length) % 512 != 0 and request.connection in self._buffer

    def damage(self, request: Request, below: Below) -> Reply:
        """Write more than was requested, if it fits into the volume."""
        rest = -(request.offset + request.length) % 512
        data = bytes(request.payload) + self._buffer[request.connection][:rest]
        try:
            return raising(below)(changed(request, payload=data))
        except BlockError:  # beyond the end
            return below(request)


class GrowDropsDirtyTail(Mutant):
    """A growth reads the last unit from the disk again, below the cache."""

    id = "grow-drops-dirty-tail"
    shows = ("lost write", "zeroed", "never written", "stale")
    source = "class known from caches at a resize (librbd, dm-cache)"
    breaks = "a growth takes back unflushed writes in the 64 KiB before the old end"
    takes = ALWAYS

    def install(self) -> None:
        """Undo what is pending there."""

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                old, cache = volume.size, volume._cache  # noqa: SLF001  # a mutant changes code
                entries = list(cache._entries) if cache is not None else []  # noqa: SLF001
                real(volume, size)
                tail = [one for one in entries if one[0] >= old - _UNIT and one[3] is None]
                for start, end, data, _size in reversed(tail) if size > old else ():
                    if isinstance(data, bytes) and end <= old and self.strikes():
                        volume.store.write(start, data)

            return resize

        replace(Volume, "resize", make)


class LastGranuleNeverDirty(Mutant):
    """The last granule of a bitmap is only counted if it is whole."""

    id = "last-granule-never-dirty"
    shows = ("block status",)
    says = r"dirty"
    source = "class known from sizes of bitmaps that are rounded down"
    breaks = "the last block of a volume whose size is no multiple of 4096 is never dirty"
    takes = ALWAYS

    def install(self) -> None:
        """Remove the block."""

        def make(real: Any) -> Any:
            def status(volume: Volume, offset: int, length: int) -> Any:
                tracked, last = volume._dirty, volume.size // BLOCK  # noqa: SLF001
                is_part = tracked is not None and volume.size % BLOCK
                if is_part and any(tracked.inside(last, last + 1)) and self.strikes():  # type: ignore[union-attr]
                    tracked.remove(last, last + 1)  # type: ignore[union-attr]
                return real(volume, offset, length)

            return status

        replace(Volume, "dirty_status", make)


class ZeroesShowOlderSnapshot(Mutant):
    """Zeroes remove the newest layer of a block, and the one below it appears."""

    id = "zeroes-show-older-snapshot"
    shows = ("missing zeroes", "misplaced data", "lost write")
    says = r"not zero"
    source = "class known from chains of snapshots (longhorn-engine 52179fc2: unmap)"
    breaks = "with two snapshots and more, zeroed whole 64 KiB units show the first one's data"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Copy the oldest snapshot."""

        def make(real: Any) -> Any:
            def zeroes(volume: Volume, offset: int, length: int, *arguments: Any) -> None:
                real(volume, offset, length, *arguments)
                store = volume.store
                if not isinstance(store, MemoryStore) or length > 16 * MIB:
                    return
                names = store.snapshots()
                if len(names) < 2:
                    return
                oldest = store.open_snapshot(names[0])
                units = whole_blocks(offset, min(length, oldest.size - offset), _UNIT)
                if units and self.strikes():
                    for unit in units:
                        store.write(unit * _UNIT, oldest.read(unit * _UNIT, _UNIT))

            return zeroes

        replace(Volume, "write_zeroes", make)


class CacheHintLoadsUnflushed(Mutant):
    """A hint loads what is on the disk over what is in the cache."""

    id = "cache-hint-loads-unflushed"
    shows = ("lost write", "misplaced data")
    source = "class known from prefetch over dirty blocks (Open-CAS, bcache)"
    breaks = "a CACHE request takes back unflushed writes in its range"
    commands = (Command.CACHE,)

    def install(self) -> None:
        """Start with a clean cache."""
        self._old: deque[tuple[int, bytes]] = deque(maxlen=128)

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Remember what is not flushed, and take it back."""
        start, end = request.offset, request.offset + request.length
        with self._lock:
            if request.command is Command.FLUSH:
                self._old.clear()
            elif request.command is Command.CACHE:
                hit = [one for one in self._old if start <= one[0] and one[0] + len(one[1]) <= end]
                for offset, old in reversed(hit):
                    if self.strikes(request):
                        write(request, below, offset, old)
                    self._old.remove((offset, old))
            elif request.command in _CHANGES:
                kept = [one for one in self._old if one[0] + len(one[1]) <= start or one[0] >= end]
                self._old = deque(kept, maxlen=128)
                is_plain = not request.flags & CommandFlag.FUA and request.length <= _UNIT
                if request.command is Command.WRITE and is_plain:
                    with contextlib.suppress(BlockError):  # a write beyond the end
                        old = read(request, raising(below), start, request.length)
                        self._old.append((start, old))
            return below(request)
