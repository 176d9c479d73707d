"""Snapshots, clones, zeroes: real bugs of other servers, seeded first (docs/bugs.md)."""

from __future__ import annotations

import errno
import time
import weakref
from collections import deque
from typing import Any

from blockio.errors import BlockError
from mutants.knobs import ALWAYS
from mutants.lineage import _OfClones
from mutants.mutant import BLOCK, Mutant, blocks
from mutants.patching import change_snapshots, replace
from mutants.third_snapshots import _chunks
from mutants.volume_mutant import Real, VolumeMutant
from reference_backend.blocking_requests import mark_under_way
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.volume import Volume

_MOST_AREA = 16
_VHD_BLOCK = 2 << 20


def newest_snapshot(store: Any) -> MemoryStore | None:
    """Return the newest snapshot of a store in memory, if it has one."""
    if not isinstance(store, MemoryStore) or not store.snapshots():
        return None
    return store.open_snapshot(store.snapshots()[-1])


class ZeroBlockRevertsAfterRestart(VolumeMutant):
    """A block of zeroes over a snapshot is noted in memory, and not in the map on the disk."""

    id = "zero-block-reverts-after-restart"
    shows = ("missing zeroes", "lost write", "stale")
    says = r"not zero"
    source = "VirtualBox issue 850"
    breaks = "a whole 1 MiB block of zeroes, written over a snapshot's data, is undone by a restart"
    memory_only = True

    def fresh(self) -> set[int]:
        """Start without such blocks."""
        return set()

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note whole blocks of zeroes; another write to the block puts it into the map."""
        real(offset, data, fua)
        noted = self.of(volume)
        length = len(data)
        for index in blocks(offset, length, CHUNK_BYTES):
            noted.discard(index)
            at = index * CHUNK_BYTES - offset
            if at < 0 or at + CHUNK_BYTES > length or any(data[at : at + CHUNK_BYTES]):
                continue
            below = newest_snapshot(volume.store)
            if below is not None and index in _chunks(below):
                noted.add(index)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Forget them."""
        noted = sorted(self.of(volume))
        real(seed)
        below = newest_snapshot(volume._powered)  # noqa: SLF001  # a mutant changes code
        for index in noted if below is not None else ():
            if self.strikes():
                at = index * CHUNK_BYTES
                volume._powered.write(at, below.read(at, CHUNK_BYTES))  # type: ignore[union-attr] # noqa: SLF001
        self.of(volume).clear()


class ClonePartWritesRace(_OfClones):
    """Parts of a block of a clone are written by reading and writing it, without a lock."""

    id = "clone-part-writes-race"
    shows = ("lost write", "misplaced data", "not linearizable")
    source = "opencurve curve issue 985"
    breaks = "of two writes to parts of one 4 KiB block of a clone at the same time, one is lost"
    pauses = True

    def install(self) -> None:
        """Read and write whole blocks in clones."""
        super().install()

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                end = offset + len(data)
                first, last = offset // BLOCK * BLOCK, min(-(-end // BLOCK) * BLOCK, volume.size)
                is_part = (first, last) != (offset, end) and end <= volume.size
                if volume.store not in self.parents or not is_part or not self.strikes():
                    real(volume, offset, data, fua)
                    return
                whole = bytearray(volume.read(first, last - first))
                mark_under_way()
                time.sleep(0.0005)
                whole[offset - first : end - first] = data
                real(volume, first, bytes(whole), fua)

            return write

        replace(Volume, "write", make)


class CloneBeyondParentFails(_OfClones):
    """What a clone does not have is read from its parent, which ends earlier."""

    id = "clone-beyond-parent-fails"
    shows = ("error",)
    says = r"EIO|Input/output error"
    source = "cloud-hypervisor pull request 7678"
    breaks = "unwritten parts of a clone that has grown beyond its parent fail with EIO"

    def install(self) -> None:
        """Fail reads behind the parent."""
        super().install()

        def make(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                data: bytes = real(volume, offset, length)
                parent = self.parents.get(volume.store)  # type: ignore[call-overload]
                if parent is None or offset + length <= parent.size or not length:
                    return data
                start = max(offset, parent.size)
                there = sum(b - a for a, b in volume.store.data(start, offset + length))
                if there < offset + length - start and self.strikes():
                    raise BlockError(errno.EIO, "beyond the end of the parent")
                return data

            return read

        replace(Volume, "read", make)


class SnapshotReadRacesWrite(Mutant):
    """A read of a snapshot is sent to the volume, which is changed before the read is done."""

    id = "snapshot-read-races-write"
    shows = ("newer", "changing", "misplaced data")
    says = r"unlike|snapshot"
    source = "Linux a8d41b59f3f5 (dm snapshot: race during exception creation)"
    breaks = "a read of a snapshot at the same time as the first write to a block shows the write"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Decide where to read, and read 0.3 ms later."""

        def change(pool: MemoryPool, name: str, snapshot: str, volume: Volume) -> None:
            del snapshot
            origin, frozen = pool._stores[name], volume.store  # noqa: SLF001
            assert isinstance(frozen, MemoryStore)
            real = volume.read

            def read(offset: int, length: int) -> bytes:
                index = offset // CHUNK_BYTES
                there = _chunks(frozen).get(index)
                is_one = length > 0 and (offset + length - 1) // CHUNK_BYTES == index
                is_shared = there is not None and _chunks(origin).get(index) is there
                if not is_one or not is_shared or offset + length > frozen.size:
                    return real(offset, length)
                time.sleep(0.0003)
                right = real(offset, length)
                seen = origin.read(offset, length)
                return seen if seen != right and self.strikes() else right

            volume.read = read  # type: ignore[method-assign]

        change_snapshots(change)


class ZeroedBlockFreedUnderWrite(Mutant):
    """A block that holds only zeroes is freed, also if it is written in the meantime."""

    id = "zeroed-block-freed-under-write"
    shows = ("zeroed", "lost write", "not linearizable")
    source = "Arsenal-Image-Mounter issue 63"
    breaks = "when a written 2 MiB block becomes all zero, a write to it at that time is lost"
    takes = ALWAYS
    memory_only = True
    pauses = True

    def install(self) -> None:
        """Free blocks 1 ms after they became zero."""

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                real(volume, offset, data, fua)
                store = volume.store
                if not isinstance(store, MemoryStore) or not data or any(data):
                    return
                base = offset // _VHD_BLOCK * _VHD_BLOCK
                end = min(base + _VHD_BLOCK, store.size)
                if any(any(store.read(a, b - a)) for a, b in list(store.data(base, end))):
                    return
                mark_under_way()
                time.sleep(0.001)
                with volume._lock:  # noqa: SLF001  # a mutant changes code
                    is_zero = not any(any(store.read(a, b - a))
                                      for a, b in list(store.data(base, end)))  # fmt: skip
                    if is_zero or self.strikes():
                        store.zero(base, end - base, allocate=False)

            return write

        replace(Volume, "write", make)


class ReloadLosesExceptions(Mutant):
    """After a restart, the first new entry of a snapshot's map is stored in an empty page."""

    id = "reload-loses-exceptions"
    shows = ("newer", "changing", "misplaced data", "lost write")
    says = r"unlike|snapshot"
    source = "Linux 2c945820cab9 (dm snapshot: fix metadata corruption)"
    breaks = "two restarts with a new 1 MiB object between them undo a snapshot's older objects"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note what is copied for snapshots before and after a power cut."""
        copied: weakref.WeakKeyDictionary[MemoryStore, list[int]] = weakref.WeakKeyDictionary()
        loaded: weakref.WeakKeyDictionary[MemoryStore, list[int]] = weakref.WeakKeyDictionary()

        def make_private(real: Any) -> Any:
            def private(store: MemoryStore, index: int) -> Any:
                there = _chunks(store).get(index)
                below = newest_snapshot(store)
                if below is not None and there is not None and _chunks(below).get(index) is there:
                    copied.setdefault(store, []).append(index)
                return real(store, index)

            return private

        def make_cut(real: Any) -> Any:
            def power_cut(volume: Volume, seed: int) -> None:
                real(volume, seed)
                store = volume._powered  # noqa: SLF001  # a mutant changes code
                below = newest_snapshot(store)
                if not isinstance(store, MemoryStore) or below is None:
                    return
                new, old = copied.pop(store, []), loaded.get(store, [])
                if new and old and self.strikes():
                    for index in old[-_MOST_AREA:]:
                        _chunks(below)[index] = _chunks(store).get(index, _chunks(below)[index])
                        _chunks(below)[index].shared = True
                    old = []
                loaded[store] = old + new

            return power_cut

        def make_snapshot(real: Any) -> Any:
            def snapshot(store: MemoryStore, name: str) -> None:
                real(store, name)
                if name:
                    copied.pop(store, None)
                    loaded.pop(store, None)

            return snapshot

        replace(MemoryStore, "_private", make_private)
        replace(MemoryStore, "snapshot", make_snapshot)
        replace(Volume, "power_cut", make_cut)


class ZeroesPastEndTruncate(Mutant):
    """Zeroes behind the end of a sparse file set its end, also if a write has moved it since."""

    id = "zeroes-past-end-truncate"
    shows = ("zeroed", "lost write", "not linearizable")
    source = "QEMU 292d06b925 (file-posix: writes and zeroes behind the end of a file on XFS)"
    breaks = "a first write behind all data is lost if zeroes behind all data end at that time"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Zero 1 ms late, and cut off what came behind the zeroes."""
        last: weakref.WeakKeyDictionary[Volume, int] = weakref.WeakKeyDictionary()

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                real(volume, offset, data, fua)
                last[volume] = max(last.get(volume, 0), offset + len(data))

            return write

        def make_zero(real: Any) -> Any:
            def write_zeroes(volume: Volume, offset: int, length: int, *rest: Any) -> None:
                end, before = offset + length, last.get(volume, 0)
                if end <= before or end > volume.size:
                    real(volume, offset, length, *rest)
                    return
                mark_under_way()
                time.sleep(0.001)
                real(volume, offset, length, *rest)
                now = min(last.get(volume, 0), volume.size)
                if now > end and before < now and self.strikes():
                    with volume._lock:  # noqa: SLF001  # a mutant changes code
                        volume.store.zero(end, now - end, allocate=False)
                last[volume] = end

            return write_zeroes

        replace(Volume, "write", make_write)
        replace(Volume, "write_zeroes", make_zero)


class PageFreedUnderRead(Mutant):
    """A page is freed by a discard while a read still copies it, and is another one's by then."""

    id = "page-freed-under-read"
    shows = ("misplaced data", "not linearizable")
    source = "Linux bbcacab2e8ee (brd: racy discards)"
    breaks = "a read of a page that is discarded at that time shows what is first written after it"
    takes = ALWAYS
    pauses = True

    def install(self) -> None:
        """Copy 0.2 ms late."""
        freed: deque[tuple[Volume, int, int, int]] = deque(maxlen=64)
        new: deque[tuple[int, bytes]] = deque(maxlen=64)
        clock = [0]

        def make_discard(real: Any) -> Any:
            def discard(volume: Volume, offset: int, length: int, *rest: Any) -> None:
                real(volume, offset, length, *rest)
                clock[0] += 1
                freed.append((volume, offset, offset + length, clock[0]))

            return discard

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                real(volume, offset, data, fua)
                clock[0] += 1
                if len(data) >= BLOCK:
                    new.append((clock[0], bytes(data[:BLOCK])))

            return write

        def make_read(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                began = clock[0]
                data: bytes = real(volume, offset, length)
                if length < BLOCK or volume.store is None:
                    return data
                mark_under_way()
                time.sleep(0.0002)
                if clock[0] < began + 2:
                    return data
                for one, start, end, when in list(freed):
                    at = max(start, offset)
                    at += -at % BLOCK
                    later = [page for time_, page in list(new) if time_ > when]
                    is_hit = (
                        one is volume and when > began and at + BLOCK <= min(end, offset + length)
                    )
                    if is_hit and later and self.strikes():
                        wrong = bytearray(data)
                        wrong[at - offset : at - offset + BLOCK] = later[0]
                        return bytes(wrong)
                return data

            return read

        replace(Volume, "discard", make_discard)
        replace(Volume, "write", make_write)
        replace(Volume, "read", make_read)
