"""Snapshots, clones and sizes that depend on each other (docs/bugs.md)."""

from __future__ import annotations

import time
import weakref
from typing import Any

from blockio.layers import Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, ReplyMutant, blocks
from mutants.patching import change_snapshots, replace
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_LARGEST = 64 << 20


class CheckpointLosesOverwritten(Mutant):
    """Old data is cleaned up while a checkpoint that needs it is being made."""

    id = "checkpoint-loses-overwritten"
    shows = ("zeroed", "lost", "newer", "changing")
    says = r"unlike"
    source = "ydb nbs issue 5750"
    breaks = "a block that is overwritten while a snapshot is taken is zero in the snapshot"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Take the snapshot 10 ms late, and zero what has changed in between."""

        def make(real: Any) -> Any:
            def snapshot(volume: Volume, name: str) -> None:
                store = volume.store
                if not isinstance(store, MemoryStore) or store.size > _LARGEST:
                    real(volume, name)
                    return
                before = volume.read(0, store.size)
                time.sleep(0.01)
                real(volume, name)
                frozen = store.open_snapshot(name)
                after = frozen.read(0, min(frozen.size, len(before)))
                over = [at for at in range(0, len(after) - BLOCK + 1, BLOCK)
                        if any(before[at : at + BLOCK])
                        and before[at : at + BLOCK] != after[at : at + BLOCK]]  # fmt: skip
                for at in over if over and self.strikes() else ():
                    frozen.zero(at, BLOCK, allocate=False)

            return snapshot

        replace(Volume, "snapshot", make)


class WriteAfterTruncateReadsHole(ReplyMutant):
    """The list of freed ranges hides what is written to them again."""

    id = "write-after-truncate-reads-hole"
    shows = ("zeroed", "lost write")
    source = "openzfs 1644e2ffd2"
    breaks = "after a shrink and a growth, writes to the new part read as zeroes until a flush"
    commands = (Command.READ,)

    def install(self) -> None:
        """Note the ranges that shrinks free."""
        self._freed = RangeSet()

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                old = volume.size
                real(volume, size)
                self._freed.add(size, old)

            return resize

        replace(Volume, "resize", make)

    def observe(self, request: Request) -> None:
        """Forget the ranges at a flush."""
        if request.command is Command.FLUSH:
            self._freed.clear()

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether a freed range is read."""
        end = request.offset + request.length
        return any(any(reply.data[first - request.offset : after - request.offset])
                   for first, after in self._freed.inside(request.offset, end))  # fmt: skip

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Return zeroes for freed ranges."""
        data = bytearray(reply.data)
        end = request.offset + request.length
        for first, after in self._freed.inside(request.offset, end):
            data[first - request.offset : after - request.offset] = bytes(after - first)
        reply.data = bytes(data)


def _chunks(store: MemoryStore) -> dict[int, Any]:
    return store._chunks  # noqa: SLF001  # a mutant changes code


class _OfClones(Mutant):
    """A bug that knows which stores are clones, and of what."""

    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note the parent of each clone."""
        self.parents: weakref.WeakKeyDictionary[MemoryStore, MemoryStore] = (
            weakref.WeakKeyDictionary()
        )

        def clone(real: Any) -> Any:
            def make(store: MemoryStore) -> MemoryStore:
                made: MemoryStore = real(store)
                self.cloned(store, made)
                self.parents[made] = store
                return made

            return make

        replace(MemoryStore, "clone", clone)

    def cloned(self, parent: MemoryStore, made: MemoryStore) -> None:
        """Change a new clone."""


class ZeroesInCloneShowParent(_OfClones):
    """A freed block of a clone is looked up in its parent."""

    id = "zeroes-in-clone-show-parent"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "openzfs 9bf75b4b13"
    breaks = "a whole 1 MiB object of a clone that is zeroed shows its parent's data again"

    def install(self) -> None:
        """Bring the parent's object back."""
        super().install()

        def zero(real: Any) -> Any:
            def in_chunk(store: MemoryStore, index: int, start: int, end: int) -> None:
                real(store, index, start, end)
                parent = self.parents.get(store)
                is_whole = end - start == CHUNK_BYTES
                if parent is not None and is_whole and index in _chunks(parent) and self.strikes():
                    _chunks(store)[index] = _chunks(parent)[index]
                    store._order = None  # noqa: SLF001  # a mutant changes code

            return in_chunk

        replace(MemoryStore, "_zero_in_chunk", zero)


class GrandchildReadsGrandparent(_OfClones):
    """A clone of a clone skips a level."""

    id = "grandchild-reads-grandparent"
    shows = ("lost write", "misplaced data")
    source = "class known from chains of clones (ceph PR 55892: data of a parent that is lost)"
    breaks = "a clone of a clone lacks what the first clone changed in objects of its parent"

    def cloned(self, parent: MemoryStore, made: MemoryStore) -> None:
        """Take the objects of the grandparent."""
        for middle, oldest in list(self.parents.items()):
            is_child = any(parent is one for one in middle._snapshots.values())  # noqa: SLF001
            both = _chunks(oldest).keys() & _chunks(made).keys()
            changed = [one for one in both if _chunks(oldest)[one] is not _chunks(made)[one]]
            if is_child and changed and self.strikes():
                _chunks(made).update({one: _chunks(oldest)[one] for one in changed})


class SnapshotIndexWraps(Mutant):
    """The index of a snapshot has five bits."""

    id = "snapshot-index-wraps"
    shows = ("lost write", "newer", "misplaced data", "size")
    source = "class known from chains of snapshots with a limit (longhorn-engine 8bf0b1d7: 250)"
    breaks = "the 33rd snapshot of a volume shows the contents of the first one"
    takes = ALWAYS
    memory_only = True
    MOST = 32

    def install(self) -> None:
        """Wrap the index."""

        def make(real: Any) -> Any:
            def open_snapshot(store: MemoryStore, name: str) -> MemoryStore:
                names = store.snapshots()
                at = names.index(name)
                wrong = names[at % self.MOST] if at >= self.MOST and self.strikes() else name
                found: MemoryStore = real(store, wrong)
                return found

            return open_snapshot

        replace(MemoryStore, "open_snapshot", make)


class SnapshotMergeDropsZeroes(Mutant):
    """Zeroes of a removed snapshot are taken for nothing when it is merged."""

    id = "snapshot-merge-drops-zeroes"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "class known from merging of snapshots (ceph PR 61129: flatten with a wrong map)"
    breaks = (
        "if the snapshot that first had a zeroed block is removed, newer ones show what was before"
    )
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Write the data of the older snapshot to the newer one."""

        def make(real: Any) -> Any:
            def delete_snapshot(store: MemoryStore, name: str) -> None:
                names = store.snapshots()
                at = names.index(name)
                if at and store.size <= _LARGEST:
                    older = store.open_snapshot(names[at - 1])
                    removed = store.open_snapshot(name)
                    is_last = at + 1 == len(names)
                    newer = store if is_last else store.open_snapshot(names[at + 1])
                    self._merge(older, removed, newer)
                real(store, name)

            return delete_snapshot

        replace(MemoryStore, "delete_snapshot", make)

    def _merge(self, older: MemoryStore, removed: MemoryStore, newer: MemoryStore) -> None:
        size = min(older.size, removed.size, newer.size)
        for first, after in list(older.data(0, size)):
            for number in blocks(first, after - first):
                at = number * BLOCK
                if at + BLOCK > size or any(removed.read(at, BLOCK)) or any(newer.read(at, BLOCK)):
                    continue
                old = older.read(at, BLOCK)
                if any(old) and self.strikes():
                    newer.write(at, old)


class SnapshotSizeFollowsVolume(Mutant):
    """A snapshot has no size of its own."""

    id = "snapshot-size-follows-volume"
    shows = ("size", "error")
    says = r"size|beyond|Invalid"
    source = "class known from snapshots of volumes that are resized"
    breaks = "a snapshot that is opened after a shrink of its volume has the new size"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Cut the size."""

        def change(pool: MemoryPool, name: str, _snapshot: str, volume: Volume) -> None:
            size = pool.open(name).size
            if size < volume.size and self.strikes():
                volume.size = size

        change_snapshots(change)


class GrowZeroesPartBlock(Mutant):
    """A growth clears the whole block of the old end."""

    id = "grow-zeroes-part-block"
    shows = ("zeroed", "torn", "lost write")
    source = "class known from partial last blocks (nbd f123be9: writes that extend a file)"
    breaks = (
        "a growth from a size that is no multiple of 4096 zeroes the last block before the old end"
    )
    takes = ALWAYS

    def install(self) -> None:
        """Zero the last block."""

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                old = volume.size
                real(volume, size)
                if size > old and old % BLOCK and self.strikes():
                    volume.store.zero(old & -BLOCK, old % BLOCK, allocate=False)

            return resize

        replace(Volume, "resize", make)


class TrackingLostOnResize(Mutant):
    """A resize makes a new bitmap."""

    id = "tracking-lost-on-resize"
    shows = ("block status",)
    says = r"dirty"
    source = "class known from bitmaps that a resize moves (DRBD ab2a7cab7)"
    breaks = "after a resize, no block that was changed before is dirty"
    takes = ALWAYS

    def install(self) -> None:
        """Start with an empty bitmap."""

        def make(real: Any) -> Any:
            def resize(volume: Volume, size: int) -> None:
                real(volume, size)
                if volume._dirty is not None and self.strikes():  # noqa: SLF001  # see above
                    volume._dirty = RangeSet()  # noqa: SLF001

            return resize

        replace(Volume, "resize", make)
