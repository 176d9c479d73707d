"""Snapshots, clones, volumes and their status: written before a case was read (docs/bugs.md)."""

from __future__ import annotations

import weakref
from typing import Any

from blockio.extents import STATE_HOLE, STATE_ZERO, Extent, merged
from mutants.knobs import ALWAYS
from mutants.lineage import _OfClones
from mutants.mutant import BLOCK, Mutant
from mutants.patching import replace
from mutants.volume_mutant import Real, VolumeMutant
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_MOST_CHUNKS = 64


def _chunks(store: MemoryStore) -> dict[int, Any]:
    return store._chunks  # noqa: SLF001  # a mutant changes code


class RemovedSnapshotOverwritesNewer(Mutant):
    """The blocks of a removed snapshot are merged into the next one, also over newer blocks."""

    id = "removed-snapshot-overwrites-newer"
    shows = ("lost write", "misplaced data", "changing")
    says = r"unlike"
    source = "class known from coalescing of snapshots (Longhorn issue 1895, QEMU commit)"
    breaks = "if a snapshot is removed, the next newer one has its version of twice changed blocks"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Merge in the wrong direction."""

        def make(real: Any) -> Any:
            def delete(store: MemoryStore, name: str) -> None:
                names = store.snapshots()
                at = names.index(name)
                if at + 1 < len(names):
                    older = store.open_snapshot(names[at - 1]) if at else MemoryStore(store.size)
                    self._merge(
                        older, store.open_snapshot(name), store.open_snapshot(names[at + 1])
                    )
                real(store, name)

            return delete

        replace(MemoryStore, "delete_snapshot", make)

    def _merge(self, older: MemoryStore, gone: MemoryStore, newer: MemoryStore) -> None:
        for index in list(_chunks(gone))[:_MOST_CHUNKS]:
            base = index * CHUNK_BYTES
            if _chunks(gone)[index] is _chunks(newer).get(index):
                continue
            for at in range(base, min(base + CHUNK_BYTES, gone.size, newer.size), BLOCK):
                was = gone.read(at, BLOCK)
                is_twice = was not in {older.read(at, BLOCK), newer.read(at, BLOCK)}
                if is_twice and at + BLOCK <= newer.size and self.strikes():
                    newer.write(at, was)


class SnapshotAcceptsWrites(Mutant):
    """A snapshot is opened like a volume."""

    id = "snapshot-accepts-writes"
    shows = ("error", "changing", "newer", "lost", "misplaced data")
    says = r"read-only|READ_ONLY|unlike"
    source = "class known from snapshots without a flag (dm-snapshot, iSCSI targets)"
    breaks = "a snapshot is not advertised as read-only, and takes writes"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Open it writable."""

        def make(real: Any) -> Any:
            def open_snapshot(pool: MemoryPool, name: str, snapshot: str) -> Volume:
                opened: Volume = real(pool, name, snapshot)
                opened.read_only = not self.strikes()
                return opened

            return open_snapshot

        replace(MemoryPool, "_open_snapshot", make)


class SnapshotPrefixMatch(Mutant):
    """Snapshots are found by the beginning of their names."""

    id = "snapshot-prefix-match"
    shows = ("newer", "lost write", "misplaced data", "size")
    says = r"unlike"
    source = "class known from names that are compared as prefixes (variant of acl-prefix-match)"
    breaks = "a snapshot opens as the newest one whose name begins with its name"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Open another one."""

        def make(real: Any) -> Any:
            def open_snapshot(pool: MemoryPool, name: str, snapshot: str) -> Volume:
                longer = [one for one in pool.snapshots(name)
                          if one.startswith(snapshot) and one != snapshot]  # fmt: skip
                if longer and self.strikes():
                    snapshot = longer[-1]
                opened: Volume = real(pool, name, snapshot)
                return opened

            return open_snapshot

        replace(MemoryPool, "_open_snapshot", make)


class CloneRemovalFreesParent(_OfClones):
    """A clone that is removed frees all blocks that it could read."""

    id = "clone-removal-frees-parent"
    shows = ("zeroed", "lost write", "changing")
    says = r"unlike"
    source = "SPDK issue 698 (a cluster of a snapshot that is released twice)"
    breaks = "if a clone is removed, its snapshot has zeroes where they shared 1 MiB objects"

    def install(self) -> None:
        """Free the shared objects."""
        super().install()

        def make(real: Any) -> Any:
            def remove(pool: MemoryPool, name: str) -> None:
                store = pool._stores[name]  # noqa: SLF001  # a mutant changes code
                parent = self.parents.get(store)
                real(pool, name)
                for index, chunk in list(_chunks(store).items()) if parent is not None else ():
                    if (
                        parent is not None
                        and _chunks(parent).get(index) is chunk
                        and self.strikes()
                    ):
                        del _chunks(parent)[index]
                        parent._order = None  # noqa: SLF001

            return remove

        replace(MemoryPool, "_remove", make)


class SiblingClonesShareCopy(_OfClones):
    """A block that was copied for one clone is entered for all clones of the snapshot."""

    id = "sibling-clones-share-copy"
    shows = ("foreign", "misplaced data", "lost write", "newer", "changing")
    says = r"unlike"
    source = "class known from copies before a write (qcow2 and SPDK: one table, two owners)"
    breaks = "the first change of a 1 MiB object in one of two clones appears in the other one"

    def install(self) -> None:
        """Share the copy."""
        super().install()

        def make(real: Any) -> Any:
            def private(store: MemoryStore, index: int) -> Any:
                before = _chunks(store).get(index)
                made = real(store, index)
                parent = self.parents.get(store)
                for other, of in list(self.parents.items()) if parent and before else ():
                    is_sibling = other is not store and of is parent
                    if is_sibling and _chunks(other).get(index) is before and self.strikes():
                        _chunks(other)[index] = made
                return made

            return private

        replace(MemoryStore, "_private", make)


class _TopLayerOnly(_OfClones):
    """The status of what is in a lower layer is not looked up."""

    shows = ("block status", "zeroed", "lost write")

    def install(self) -> None:
        """Report holes in the place of shared objects."""
        super().install()

        def make(real: Any) -> Any:
            def status(volume: Volume, offset: int, length: int) -> list[Extent]:
                found: list[Extent] = real(volume, offset, length)
                store = volume.store
                if not isinstance(store, MemoryStore) or not self.is_layered(store):
                    return found
                end = offset + sum(one.length for one in found)
                return list(merged(self._changed(store, offset, end, found)))

            return status

        replace(Volume, "block_status", make)

    def is_layered(self, store: MemoryStore) -> bool:
        """Return whether the status of this store is wrong."""
        raise NotImplementedError

    def _changed(
        self, store: MemoryStore, offset: int, end: int, found: list[Extent]
    ) -> list[Extent]:
        result, at = [], offset
        for one in found:
            stop = at + one.length
            while at < stop:
                part = min(stop, (at // CHUNK_BYTES + 1) * CHUNK_BYTES) - at
                chunk = _chunks(store).get(at // CHUNK_BYTES) if one.flags == 0 else None
                hides = chunk is not None and chunk.shared and self.strikes()
                result.append(Extent(part, STATE_HOLE | STATE_ZERO if hides else one.flags))
                at += part
        return result


class CloneStatusIgnoresParent(_TopLayerOnly):
    """Block status of a clone knows the clone only."""

    id = "clone-status-ignores-parent"
    source = "class known from chains of images (QEMU block status with a backing file)"
    breaks = "block status of a clone calls what it has from its parent a hole that reads as zero"

    def is_layered(self, store: MemoryStore) -> bool:
        """Return whether it is a clone."""
        return store in self.parents


class StatusTopLayerOnly(_TopLayerOnly):
    """Block status of a volume with snapshots knows the newest layer only."""

    id = "status-top-layer-only"
    source = "class known from chains of snapshots (Longhorn, qcow2 overlays)"
    breaks = "after a snapshot, block status of its volume calls what is older than it a hole"

    def is_layered(self, store: MemoryStore) -> bool:
        """Return whether it has snapshots."""
        return bool(store.snapshots())


class RecreatedVolumeShowsOld(Mutant):
    """A volume that is made under the name of a removed one takes over its storage."""

    id = "recreated-volume-shows-old"
    shows = ("never written", "stale", "foreign", "missing zeroes", "misplaced data")
    says = r"not zero"
    source = "class known from volumes that are not cleared (OpenStack Cinder CVE-2013-4183)"
    breaks = "a new volume with the name of a removed one has the data of that one"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Keep what is removed."""
        gone: dict[str, MemoryStore] = {}

        def make_remove(real: Any) -> Any:
            def remove(pool: MemoryPool, name: str) -> None:
                gone[name] = pool._stores[name]  # noqa: SLF001  # a mutant changes code
                real(pool, name)

            return remove

        def make_create(real: Any) -> Any:
            def create(pool: MemoryPool, name: str, size: int) -> None:
                real(pool, name, size)
                old = gone.pop(name, None)
                if old is None or not self.strikes():
                    return
                kept = {at: one for at, one in _chunks(old).items()
                        if (at + 1) * CHUNK_BYTES <= size}  # fmt: skip
                _chunks(pool._stores[name]).update(kept)  # noqa: SLF001

            return create

        replace(MemoryPool, "_remove", make_remove)
        replace(MemoryPool, "_create", make_create)


class SnapshotSizeOfCreation(Mutant):
    """A snapshot takes its size from the header of the volume, which a resize does not change."""

    id = "snapshot-size-of-creation"
    shows = ("size", "error", "length")
    says = r"size|beyond|outside"
    source = "class known from sizes in two places (librbd size of snapshots)"
    breaks = "the snapshots of a volume that has grown have the size that it had first"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note the first size."""
        first: weakref.WeakKeyDictionary[MemoryStore, int] = weakref.WeakKeyDictionary()

        def make_resize(real: Any) -> Any:
            def resize(store: MemoryStore, size: int) -> None:
                first.setdefault(store, store.size)
                real(store, size)

            return resize

        def make_snapshot(real: Any) -> Any:
            def snapshot(store: MemoryStore, name: str) -> None:
                real(store, name)
                size = first.get(store, store.size)
                if name and size < store.size and self.strikes():
                    store.open_snapshot(name).resize(size)

            return snapshot

        replace(MemoryStore, "resize", make_resize)
        replace(MemoryStore, "snapshot", make_snapshot)


class SnapshotMissesPendingZeroes(VolumeMutant):
    """A snapshot waits for the writes in the cache, but not for the zeroes."""

    id = "snapshot-misses-pending-zeroes"
    shows = ("missing zeroes", "lost write", "changing")
    says = r"unlike|not zero"
    source = "class known from caches with a list of zeroes (variant of snapshot-misses-cached)"
    breaks = "a snapshot has the old data where zeroes or discards were not flushed before it"
    memory_only = True

    def on_snapshot(self, real: Real, volume: Volume, name: str) -> None:
        """Restore the old data in the snapshot."""
        cache, store = volume._cache, volume.store  # noqa: SLF001  # a mutant changes code
        entries = list(cache._entries) if cache is not None else []  # noqa: SLF001
        real(name)
        if not isinstance(store, MemoryStore):
            return
        frozen = store.open_snapshot(name)
        for _, _, old, size in reversed(entries):
            for at, data in old if isinstance(old, list) and size is None else ():
                end = at + len(data)
                if end <= frozen.size and not any(frozen.read(at, len(data))) and self.strikes():
                    frozen.write(at, data)


class DirtyMissesFua(VolumeMutant):
    """The path of writes with FUA does not set bits of the bitmap."""

    id = "dirty-misses-fua"
    shows = ("block status",)
    says = r"dirty"
    source = (
        "class known from write-through paths beside tracking (QEMU ec050f77a5: a path misses it)"
    )
    breaks = "a block that was only written with FUA is not dirty"

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Take back what the write added."""
        dirty: RangeSet | None = volume._dirty  # noqa: SLF001  # a mutant changes code
        first, after = offset >> 12, (offset + len(data) + 4095) >> 12
        before = list(dirty.inside(first, after)) if dirty is not None else []
        real(offset, data, fua)
        if not fua or dirty is None or before == [(first, after)] or not self.strikes():
            return
        dirty.remove(first, after)
        for start, end in before:
            dirty.add(start, end)


class CowRunJoined(_OfClones):
    """A read that begins in copied objects takes the rest from the same file."""

    id = "cow-run-joined"
    shows = ("zeroed", "lost write", "changing")
    source = "NetworkBlockDevice nbd PR 177 (copy on write: sequential reads)"
    breaks = "a read of a clone from an object of its own into one of its parent ends with zeroes"

    def install(self) -> None:
        """Zero the rest."""
        super().install()

        def make(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                data: bytes = real(volume, offset, length)
                store = volume.store
                if not isinstance(store, MemoryStore) or store not in self.parents or not length:
                    return data
                first = _chunks(store).get(offset // CHUNK_BYTES)
                last = _chunks(store).get((offset + length - 1) // CHUNK_BYTES)
                if first is None or first.shared or last is None or not last.shared:
                    return data
                if not self.strikes():
                    return data
                end = (offset // CHUNK_BYTES + 1) * CHUNK_BYTES - offset
                return data[:end] + bytes(length - end)

            return read

        replace(Volume, "read", make)
