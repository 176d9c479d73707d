"""Snapshots, clones, sizes, tracking and status that depend on earlier requests (docs/bugs.md)."""

from __future__ import annotations

import contextlib
import weakref
from typing import Any

from blockio.errors import BlockError
from blockio.extents import STATE_ZERO, Extent, merged
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, StatusMutant, changed, whole_blocks
from mutants.patching import all_volumes, replace
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_UNIT = 65536
_ALLOCATION = "base:allocation"


def _chunks(store: MemoryStore) -> dict[int, Any]:
    return store._chunks  # noqa: SLF001  # a mutant changes code


class _OfClones(Mutant):
    """A bug that knows of which store a store is a clone."""

    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note the parent of each clone."""
        self.parents: weakref.WeakKeyDictionary[MemoryStore, MemoryStore] = (
            weakref.WeakKeyDictionary()
        )

        def make(real: Any) -> Any:
            def clone(store: MemoryStore) -> MemoryStore:
                made: MemoryStore = real(store)
                self.parents[made] = store
                return made

            return clone

        replace(MemoryStore, "clone", make)


class ZeroedUnitFilledFromParent(_OfClones):
    """A partial write to a zeroed unit of a clone fills the rest from the parent."""

    id = "zeroed-unit-filled-from-parent"
    shows = ("missing zeroes", "lost write", "misplaced data")
    says = r"not zero"
    source = "cloud-hypervisor 39e253ff9 (WRITE_ZEROES with backing files)"
    breaks = "a write into a part of a zeroed 64 KiB unit of a clone brings back its parent's data"

    def install(self) -> None:
        """Note zeroed units, and fill them at the next partial write."""
        super().install()
        zeroed: weakref.WeakKeyDictionary[MemoryStore, set[int]] = weakref.WeakKeyDictionary()

        def make_zero(real: Any) -> Any:
            def zero(store: MemoryStore, offset: int, length: int, allocate: bool) -> None:
                real(store, offset, length, allocate)
                if store in self.parents and length < 1 << 30:
                    zeroed.setdefault(store, set()).update(whole_blocks(offset, length, _UNIT))

            return zero

        def make_write(real: Any) -> Any:
            def write(store: MemoryStore, offset: int, data: Any) -> None:
                units = zeroed.get(store)
                unit = offset // _UNIT
                is_part = 0 < len(data) < _UNIT and (offset + len(data) - 1) // _UNIT == unit
                if units and is_part and unit in units and self.strikes():
                    units.discard(unit)
                    parent = self.parents[store]
                    end = min((unit + 1) * _UNIT, parent.size, store.size)
                    real(store, unit * _UNIT, parent.read(unit * _UNIT, end - unit * _UNIT))
                real(store, offset, data)

            return write

        replace(MemoryStore, "zero", make_zero)
        replace(MemoryStore, "write", make_write)


class CloneOverlapRoundedDown(Mutant):
    """The part of a clone that comes from its parent is counted in whole objects."""

    id = "clone-overlap-rounded-down"
    shows = ("zeroed", "lost write", "misplaced data")
    source = "class known from overlaps of clones (librbd); longhorn-engine ac474895"
    breaks = "a clone of a size that is no multiple of 1 MiB is zero behind its last whole MiB"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Cut what a clone inherits."""

        def make(real: Any) -> Any:
            def clone(store: MemoryStore) -> MemoryStore:
                made: MemoryStore = real(store)
                whole = made.size // CHUNK_BYTES * CHUNK_BYTES
                if whole < made.size and self.strikes():
                    made.zero(whole, made.size - whole, allocate=False)
                return made

            return clone

        replace(MemoryStore, "clone", make)


class CloneRegrownShowsParent(_OfClones):
    """A clone that shrinks keeps the old limit up to which it reads its parent."""

    id = "clone-regrown-shows-parent"
    shows = ("missing zeroes", "misplaced data", "lost write")
    says = r"not zero"
    source = "class known from overlaps of clones (librbd: the overlap shrinks with the image)"
    breaks = "a clone that shrinks and grows shows its parent's data in the new part"

    def install(self) -> None:
        """Read the parent in what a growth adds."""
        super().install()

        def make(real: Any) -> Any:
            def resize(store: MemoryStore, size: int) -> None:
                old = store.size
                real(store, size)
                parent = self.parents.get(store)
                end = min(size, parent.size) if parent is not None else 0
                if parent is not None and old < end and self.strikes():
                    for first, after in parent.data(old, end):
                        store.write(first, parent.read(first, after - first))

            return resize

        replace(MemoryStore, "resize", make)


class SharedMarkToggles(Mutant):
    """The mark of shared data is switched by each snapshot."""

    id = "shared-mark-toggles"
    shows = ("newer", "other write", "lost", "changing", "misplaced data", "lost write")
    says = r"unlike"
    source = "class known from marks of shared clusters (qcow2 COPIED flag, dm-thin shared blocks)"
    breaks = "after two snapshots without a write between them, a write changes the snapshots too"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Clear the mark of chunks that were shared before."""

        def make(real: Any) -> Any:
            def snapshot(store: MemoryStore, name: str) -> None:
                before = [one for one in _chunks(store).values() if one.shared]
                real(store, name)
                if name and before and self.strikes():
                    for chunk in before:
                        chunk.shared = False

            return snapshot

        replace(MemoryStore, "snapshot", make)


class RemovalUnsharesClone(Mutant):
    """The removal of a snapshot looks for other snapshots that share its data, not for clones."""

    id = "removal-unshares-clone"
    shows = ("newer", "other write", "foreign", "lost", "changing", "misplaced data", "lost write")
    says = r"unlike"
    source = "class known from counts of references without clones (variant of the EBS outage)"
    breaks = "after a snapshot with a clone is removed, writes to its volume change the clone"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Clear the mark of chunks that no other snapshot of the volume has."""

        def make(real: Any) -> Any:
            def delete(store: MemoryStore, name: str) -> None:
                gone = store.open_snapshot(name)
                real(store, name)
                others = [store.open_snapshot(one) for one in store.snapshots()]
                kept = {id(one) for other in others for one in _chunks(other).values()}
                if self.strikes():
                    for index, chunk in _chunks(gone).items():
                        is_own = _chunks(store).get(index) is chunk and id(chunk) not in kept
                        chunk.shared &= not is_own

            return delete

        replace(MemoryStore, "delete_snapshot", make)


class SnapshotNamesShared(Mutant):
    """One table of names serves the snapshots of all volumes."""

    id = "snapshot-names-shared"
    shows = ("foreign", "stale", "never written", "zeroed", "misplaced data", "lost write")
    says = r"unlike"
    source = "class known from tables by name (variant of snapshot-by-name-kept)"
    breaks = "a snapshot opens as the newest one of that name of any volume of the same size"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Open by the name of the snapshot alone."""
        newest: dict[str, MemoryStore] = {}

        def make_snapshot(real: Any) -> Any:
            def snapshot(store: MemoryStore, name: str) -> None:
                real(store, name)
                newest[name] = store

            return snapshot

        def make_open(real: Any) -> Any:
            def open_snapshot(pool: MemoryPool, name: str, snapshot: str) -> Volume:
                volume: Volume = real(pool, name, snapshot)
                whose = newest.get(snapshot, volume.store)
                is_other = whose is not pool._stores[name]  # noqa: SLF001  # a mutant changes code
                if isinstance(whose, MemoryStore) and is_other and snapshot in whose.snapshots():
                    found = whose.open_snapshot(snapshot)
                    if found.size == volume.size and self.strikes():
                        volume.store = found
                return volume

            return open_snapshot

        replace(MemoryStore, "snapshot", make_snapshot)
        replace(MemoryPool, "_open_snapshot", make_open)


class SnapshotMissesCached(Mutant):
    """A snapshot is taken below a cache that is not written back first."""

    id = "snapshot-misses-cached"
    shows = ("stale", "never written", "zeroed", "lost write")
    says = r"unlike"
    source = "vitastor b1510132 (snapshot reads from a dirty write-back cache)"
    breaks = "a snapshot lacks the writes of up to 64 KiB that were not flushed before it"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Undo in the snapshot what is pending."""

        def make(real: Any) -> Any:
            def snapshot(volume: Volume, name: str) -> None:
                cache = volume._cache  # noqa: SLF001  # a mutant changes code
                entries = list(cache._entries) if cache is not None else []  # noqa: SLF001
                real(volume, name)
                store = volume.store
                olds = [(one[0], one[2]) for one in entries if isinstance(one[2], bytes)]
                short = [(start, old) for start, old in olds if len(old) <= _UNIT]
                if short and isinstance(store, MemoryStore) and self.strikes():
                    frozen = store.open_snapshot(name)
                    for start, old in reversed(short):
                        if start + len(old) <= frozen.size:
                            frozen.write(start, old)

            return snapshot

        replace(Volume, "snapshot", make)


class CheckpointClearsOthers(Mutant):
    """All volumes of a server share the moment since which changes are tracked."""

    id = "checkpoint-clears-others"
    shows = ("block status",)
    says = r"dirty"
    source = "class known from state that volumes share (nbdkit f71080b1)"
    breaks = "a snapshot of one volume makes what was changed in all other volumes clean"
    takes = ALWAYS

    def install(self) -> None:
        """Note all volumes, and clear their tracking."""
        known = all_volumes()

        def make(real: Any) -> Any:
            def checkpoint(volume: Volume, *arguments: Any) -> None:
                real(volume, *arguments)
                for other in list(known):
                    if other is not volume and other._dirty and self.strikes():  # noqa: SLF001  # a mutant changes code
                        other._dirty = RangeSet()  # noqa: SLF001

            return checkpoint

        replace(Volume, "snapshot", make)
        replace(Volume, "checkpoint", make)


class DirtyTwiceIsClean(Mutant):
    """The difference of two intervals leaves out what changed in both."""

    id = "dirty-twice-is-clean"
    shows = ("block status",)
    says = r"dirty"
    source = "ceph PR 4593 (an object that is dirty in one snapshot and in the next)"
    breaks = "a block that changed before the newest snapshot and after it again is clean"
    takes = ALWAYS

    def install(self) -> None:
        """Remember what was dirty when a snapshot was taken."""
        earlier: weakref.WeakKeyDictionary[Volume, RangeSet] = weakref.WeakKeyDictionary()

        def make_snapshot(real: Any) -> Any:
            def snapshot(volume: Volume, name: str) -> None:
                before = volume._dirty  # noqa: SLF001  # a mutant changes code
                real(volume, name)
                if before is not None:
                    earlier[volume] = before

            return snapshot

        def make_status(real: Any) -> Any:
            def status(volume: Volume, offset: int, length: int) -> Any:
                now, before = volume._dirty, earlier.get(volume)  # noqa: SLF001
                if now is None or not before or not self.strikes():
                    return real(volume, offset, length)
                less = now.copy()
                for first, after in before:
                    less.remove(first, after)
                volume._dirty = less  # noqa: SLF001
                try:
                    return real(volume, offset, length)
                finally:
                    volume._dirty = now  # noqa: SLF001

            return status

        replace(Volume, "snapshot", make_snapshot)
        replace(Volume, "dirty_status", make_status)


class DirtyWordEdgeMissed(Mutant):
    """A loop over the words of a bitmap leaves out a word of which one bit is needed."""

    id = "dirty-word-edge-missed"
    shows = ("block status",)
    says = r"dirty"
    source = "class known from loops over words of bitmaps (variant of dirty-end-rounded-down)"
    breaks = "of a write whose last granule begins at a multiple of 256 KiB, this one stays clean"
    takes = ALWAYS

    def install(self) -> None:
        """Remove the last granule."""

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                first, last = offset // BLOCK, (offset + len(data) - 1) // BLOCK
                tracked = volume._dirty  # noqa: SLF001  # a mutant changes code
                is_edge = tracked is not None and first < last and last % 64 == 0
                was_dirty = is_edge and any(tracked.inside(last, last + 1))  # type: ignore[union-attr]
                real(volume, offset, data, fua)
                if is_edge and not was_dirty and self.strikes():
                    tracked.remove(last, last + 1)  # type: ignore[union-attr]

            return write

        replace(Volume, "write", make)


class PreallocatedZeroStaysZero(StatusMutant):
    """A unit that is allocated and zero keeps its mark when a part of it is written."""

    id = "preallocated-zero-stays-zero"
    shows = ("block status", "zeroed", "lost write")
    says = r"(?i)status"
    source = "class known from zero clusters with an allocation (qcow2 subclusters)"
    breaks = "a small write into zeroes that were made with NO_HOLE leaves their status at zero"

    def install(self) -> None:
        """Start without such blocks."""
        self._zero = RangeSet()

    def observe(self, request: Request) -> None:
        """Note zeroes with NO_HOLE, and forget what is written as a whole or freed."""
        start, end = request.offset, request.offset + request.length
        if request.command is Command.WRITE_ZEROES and request.flags & CommandFlag.NO_HOLE:
            self._zero.add(start, end)
        elif request.command in {Command.WRITE_ZEROES, Command.TRIM} or (
            request.command is Command.WRITE and request.length >= BLOCK
        ):
            self._zero.remove(start // BLOCK * BLOCK, end + -end % BLOCK)

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether an extent of data lies in such a range."""
        right = reply.extents.get(_ALLOCATION, ())
        return bool(right) and self._wrong(request.offset, right) != list(right)

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Mark the data as zeroes."""
        reply.extents[_ALLOCATION] = self._wrong(request.offset, reply.extents[_ALLOCATION])

    def _wrong(self, offset: int, right: Any) -> list[Extent]:
        found: list[Extent] = []
        for one in right:
            at, end = offset, offset + one.length
            if one.flags == 0:
                for first, after in self._zero.inside(offset, end):
                    found += [Extent(first - at, 0), Extent(after - first, STATE_ZERO)]
                    at = after
            found.append(Extent(end - at, one.flags))
            offset = end
        return list(merged(one for one in found if one.length))


class StatusOffsetRounded(StatusMutant):
    """Extents are looked up from the beginning of the block in which the question begins."""

    id = "status-offset-rounded"
    shows = ("block status", "zeroed", "lost write")
    says = r"(?i)status"
    source = "class known from lookups in whole blocks (variant of dirty-slice-starts-clean)"
    breaks = "the first extent of a block status from inside a block of 4 KiB is too long"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether the question is unaligned and has several extents."""
        found = reply.extents.get(_ALLOCATION, ())
        return len(found) > 1 and found[-1].length > request.offset % BLOCK > 0

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Move all boundaries by the distance to the beginning of the block."""
        first, *rest, last = reply.extents[_ALLOCATION]
        far = request.offset % BLOCK
        reply.extents[_ALLOCATION] = [
            Extent(first.length + far, first.flags),
            *rest,
            Extent(last.length - far, last.flags),
        ]


class ZeroLengthMeansRest(RequestMutant):
    """A length of 0 means all that is left, as it does in SCSI."""

    id = "zero-length-means-rest"
    shows = ("zeroed", "lost write")
    source = "class known from SCSI WRITE SAME with 0 blocks (libiscsi PR 208, PR 271)"
    breaks = "write zeroes of length 0 zeroes the rest of its 64 KiB unit"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether the request has no length."""
        return not request.length

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero what is left, if the volume does not end there."""
        with contextlib.suppress(BlockError):
            below(changed(request, length=_UNIT - request.offset % _UNIT))
        return below(request)
