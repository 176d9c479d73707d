"""Snapshots, clones, names, block status: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

import weakref
from typing import Any

from blockio.extents import Extent, merged
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.lineage import _OfClones
from mutants.mutant import BLOCK, Mutant
from mutants.patching import replace
from mutants.third_snapshots import _chunks
from mutants.volume_mutant import Real, VolumeMutant
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import MemoryStore
from reference_backend.store.volume import Volume

_UNIT = 65536
GIB, TIB = 1 << 30, 1 << 40


class CopyupMissesSnapshots(_OfClones):
    """What a clone copies from its parent goes into the clone, but not into its snapshots."""

    id = "copyup-misses-snapshots"
    shows = ("zeroed", "lost write", "changing")
    says = r"unlike"
    source = "ceph PR 27724, PR 53672 (librbd: copy-up of a clone that has snapshots)"
    breaks = "snapshots of a clone have zeroes where it changes its parent's 1 MiB objects later"

    def install(self) -> None:
        """Remove the object from the snapshots of the clone."""
        super().install()

        def make(real: Any) -> Any:
            def private(store: MemoryStore, index: int) -> Any:
                before = _chunks(store).get(index)
                parent = self.parents.get(store)
                is_copyup = before is not None and parent is not None
                if is_copyup and _chunks(parent).get(index) is before:  # type: ignore[arg-type]
                    for one in store._snapshots.values():  # noqa: SLF001
                        if _chunks(one).get(index) is before and self.strikes():
                            del _chunks(one)[index]
                            one._order = None  # noqa: SLF001
                return real(store, index)

            return private

        replace(MemoryStore, "_private", make)


class RemovalBringsBackTruncated(Mutant):
    """A removed snapshot is merged into its volume, also behind a former end of the volume."""

    id = "removal-brings-back-truncated"
    shows = ("lost write", "missing zeroes", "stale", "misplaced data")
    says = r"not zero"
    source = "class known from merging of snapshots and expansion (Longhorn issues 1895, 6078)"
    breaks = "after a shrink and a growth, removing the snapshot before them restores its data"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note the least size since the newest snapshot."""
        least: weakref.WeakKeyDictionary[MemoryStore, int] = weakref.WeakKeyDictionary()

        def make_resize(real: Any) -> Any:
            def resize(store: MemoryStore, size: int) -> None:
                real(store, size)
                least[store] = min(size, least.get(store, size))

            return resize

        def make_snapshot(real: Any) -> Any:
            def snapshot(store: MemoryStore, name: str) -> None:
                real(store, name)
                if name:
                    least.pop(store, None)

            return snapshot

        def make_delete(real: Any) -> Any:
            def delete(store: MemoryStore, name: str) -> None:
                gone, names = store.open_snapshot(name), store.snapshots()
                real(store, name)
                if names[-1] == name:
                    self._merge(store, gone, least.get(store, store.size))

            return delete

        replace(MemoryStore, "resize", make_resize)
        replace(MemoryStore, "snapshot", make_snapshot)
        replace(MemoryStore, "delete_snapshot", make_delete)

    def _merge(self, store: MemoryStore, gone: MemoryStore, least: int) -> None:
        end = min(store.size, gone.size)
        for start, after in list(gone.data(least, end))[:64]:
            for at in range(start, after, BLOCK):
                size = min(BLOCK, after - at)
                is_empty = not any(store.data(at, at + size))
                if is_empty and self.strikes():
                    store.write(at, gone.read(at, size))


class _DeletedLater(VolumeMutant):
    """Objects are deleted 0.1 s later; ``due`` has the time and the objects of a store."""

    takes = ALWAYS
    memory_only = True
    shows = ("zeroed", "lost write", "changing")
    LATER_S = 0.1

    def install(self) -> None:
        """Start without anything to delete."""
        super().install()
        self.due: weakref.WeakKeyDictionary[MemoryStore, tuple[float, dict[int, Any]]] = (
            weakref.WeakKeyDictionary()
        )

    def later(self, store: MemoryStore, objects: dict[int, Any]) -> None:
        """Delete objects later; with None as the object, whatever is there then."""
        if objects:
            self.due[store] = clock.now_s() + self.LATER_S, objects

    def _collect(self, volume: Volume) -> None:
        store = volume.store
        if not isinstance(store, MemoryStore) or store not in self.due:
            return
        due_s, objects = self.due[store]
        if clock.now_s() < due_s:
            return
        del self.due[store]
        for index, chunk in objects.items():
            there = _chunks(store).get(index)
            if there is not None and (chunk is None or chunk is there) and self.strikes():
                del _chunks(store)[index]
                store._order = None  # noqa: SLF001  # a mutant changes code

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Delete what is due."""
        self._collect(volume)
        return bytes(real(offset, length))

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Delete what is due."""
        self._collect(volume)
        real(offset, data, fua)


class RecycledNameLosesObjects(_DeletedLater):
    """The objects of a removed volume are deleted later, by name."""

    id = "recycled-name-loses-objects"
    source = "sheepdog issue 315 (objects of a recycled volume id are deleted)"
    breaks = "a new volume with the name of a removed one loses the same 1 MiB objects after 0.1 s"

    def install(self) -> None:
        """Keep the objects of removed volumes by name."""
        super().install()
        gone: dict[str, dict[int, Any]] = {}

        def make_remove(real: Any) -> Any:
            def remove(pool: MemoryPool, name: str) -> None:
                gone[name] = dict.fromkeys(_chunks(pool._stores[name]))  # noqa: SLF001
                real(pool, name)

            return remove

        def make_create(real: Any) -> Any:
            def create(pool: MemoryPool, name: str, size: int) -> None:
                real(pool, name, size)
                self.later(pool._stores[name], gone.pop(name, {}))  # noqa: SLF001

            return create

        replace(MemoryPool, "_remove", make_remove)
        replace(MemoryPool, "_create", make_create)


class StatusSamplesFirstPage(Mutant):
    """The status of an object is that of its first page."""

    id = "status-samples-first-page"
    shows = ("block status", "zeroed", "lost write")
    says = r"zero|hole"
    source = "class known from maps with large grains (librbd fast-diff, VMDK grains)"
    breaks = "data in a 64 KiB unit whose first 4 KiB are a hole is reported as a hole"
    takes = ALWAYS

    def install(self) -> None:
        """Take the status of the first page."""

        def make(real: Any) -> Any:
            def status(volume: Volume, offset: int, length: int) -> list[Extent]:
                found, at = [], offset
                for one in real(volume, offset, length):
                    stop, unit = at + one.length, at // _UNIT * _UNIT
                    first = one.flags
                    if not one.flags and at != unit:
                        first = next(iter(volume.store.status(unit, BLOCK))).flags
                    part = min(stop, unit + _UNIT) - at
                    if first and self.strikes():
                        found += [Extent(part, first), Extent(one.length - part, one.flags)]
                    else:
                        found.append(one)
                    at = stop
                return list(merged(found))

            return status

        replace(Volume, "block_status", make)


class _StatusWraps(Mutant):
    """The offset of a status has too few bits."""

    takes = ALWAYS
    method = ""
    limit = 0

    def install(self) -> None:
        """Ask for the lower place."""

        def make(real: Any) -> Any:
            def status(volume: Volume, offset: int, length: int) -> list[Extent]:
                is_far = self.limit <= offset and 0 < length <= volume.size - offset
                if is_far and self.strikes():
                    offset %= self.limit
                found: list[Extent] = real(volume, offset, length)
                return found

            return status

        replace(Volume, self.method, make)


class StatusSectorWraps(_StatusWraps):
    """The sector of a block status has 32 bits."""

    id = "status-sector-wraps"
    shows = ("block status", "zeroed", "lost write")
    source = "class known from sectors in 32 bits (variant of offset-32bit-wrap; SPDK 16d862d038)"
    breaks = "block status from 2 TiB on is that of the offset modulo 2 TiB"
    method = "block_status"
    limit = 2 * TIB


class DirtyOffsetWraps(_StatusWraps):
    """The offset in the bitmap of changes has 32 bits."""

    id = "dirty-offset-wraps"
    shows = ("block status", "lost write")
    says = r"dirty"
    source = "class known from bitmaps of large volumes (DRBD, md: bits times bytes in 32 bits)"
    breaks = "the dirty status from 4 GiB on is that of the offset modulo 4 GiB"
    method = "dirty_status"
    limit = 4 * GIB
