"""Variants of survivors of the fourth collection, written after cases for them existed."""

from __future__ import annotations

from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, CommandFlag, Reply, Request
from mutants.fourth_layers import _DeletedLater, _StatusWraps
from mutants.lineage import _OfClones
from mutants.mutant import Mutant, RequestMutant, changed, raising, without
from mutants.patching import replace
from mutants.third_cuts import _entries
from mutants.third_snapshots import _chunks
from mutants.volume_mutant import Real, Span, VolumeMutant, apart, fits
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import Volume

_UNIT = 65536
MIB, TIB = 1 << 20, 1 << 40


class StreamWrittenBackOver(VolumeMutant):
    """A stream bypasses the cache, and the dirty lines below it are written back later."""

    id = "stream-written-back-over"
    shows = ("lost write", "misplaced data", "changing")
    source = "variant of sequential-bypass-keeps-lines"
    breaks = "a flush brings unflushed writes back over adjacent writes behind their first MiB"

    def fresh(self) -> tuple[list[Span], list[int]]:
        """Start with a clean cache, and without a stream."""
        return [], [-1, 0]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Note a dirty line; forget those below, unless the stream is long."""
        dirty, stream = self.of(volume)
        length = len(data)
        stream[1] = stream[1] + length if offset == stream[0] else length
        stream[0] = offset + length
        real(offset, data, fua)
        if stream[1] > MIB > length:
            return
        dirty[:] = apart(dirty, offset, length)[-63:]
        if fits(volume, offset, length, _UNIT) and not fua:
            dirty.append((offset, bytes(data)))

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget what is zeroed."""
        dirty = self.of(volume)[0]
        dirty[:] = apart(dirty, offset, length)
        real()

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Write the lines back."""
        dirty = self.of(volume)[0]
        for offset, data in dirty:
            is_inside = offset + len(data) <= volume.size
            if is_inside and volume.store.read(offset, len(data)) != data and self.strikes():
                volume.store.write(offset, data)
        dirty.clear()
        real()

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Start again."""
        self.put(volume, self.fresh())
        real(seed)


class StreamNotFlushed(VolumeMutant):
    """A flush that directly follows a stream does not wait for what bypasses the cache."""

    id = "stream-not-flushed"
    shows = ("lost write",)
    source = "variant of sequential-bypass-keeps-lines"
    breaks = "a flush directly after more than 1 MiB of adjacent writes makes nothing durable"

    def fresh(self) -> list[int]:
        """Start without a stream."""
        return [-1, 0]

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Measure the stream."""
        stream, length = self.of(volume), len(data)
        stream[1] = stream[1] + length if offset == stream[0] else length
        stream[0] = offset + length
        real(offset, data, fua)

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Skip it."""
        stream = self.of(volume)
        is_long = stream[1] > MIB
        self.put(volume, self.fresh())
        if not (is_long and _entries(volume) and self.strikes()):
            real()


class WholeZeroesAreClean(VolumeMutant):
    """Zeroes over the whole volume make a new bitmap of changes."""

    id = "whole-zeroes-are-clean"
    shows = ("block status",)
    says = r"dirty"
    source = "variant of whole-zeroes-volatile"
    breaks = "after zeroes or a discard of the whole volume, nothing is dirty"

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Empty the bitmap."""
        real()
        is_tracked = volume._dirty is not None  # noqa: SLF001  # a mutant changes code
        if offset == 0 and length == volume.size and is_tracked and self.strikes():
            volume._dirty = RangeSet()  # noqa: SLF001


class WholeZeroesEmptySnapshot(VolumeMutant):
    """Zeroes over the whole volume free all its objects, also those of its snapshots."""

    id = "whole-zeroes-empty-snapshot"
    shows = ("zeroed", "lost write", "changing")
    says = r"unlike"
    source = "variant of whole-zeroes-volatile"
    breaks = "zeroes or a discard of the whole volume zero its newest snapshot, too"
    memory_only = True

    def on_zeroes(  # noqa: PLR0917  # as in the base
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Free the objects of the snapshot that are the volume's."""
        store = volume.store
        is_whole = offset == 0 and length == volume.size and isinstance(store, MemoryStore)
        own = dict(_chunks(store)) if is_whole and isinstance(store, MemoryStore) else {}
        real()
        if own and isinstance(store, MemoryStore) and store.snapshots() and self.strikes():
            newest = store.open_snapshot(store.snapshots()[-1])
            for index, chunk in own.items():
                if _chunks(newest).get(index) is chunk:
                    del _chunks(newest)[index]
            newest._order = None  # noqa: SLF001  # a mutant changes code


class _AfterFailure(Mutant):
    """Something goes wrong once after a request that failed."""

    failing: tuple[Command, ...] = ()

    def install(self) -> None:
        """Start without a failure."""
        self._is_bad = False

    def spoils(self, request: Request) -> bool:
        """Return whether the bug would damage this request."""
        raise NotImplementedError

    def spoil(self, request: Request, below: Below) -> Reply:
        """Carry it out wrongly."""
        raise NotImplementedError

    def carry_out(self, request: Request, below: Below) -> Reply:
        """Note a failure, and spoil a later request."""
        if self._is_bad and self.spoils(request) and self.strikes(request):
            self._is_bad = False
            return self.spoil(request, below)
        try:
            return raising(below)(request)
        except BlockError:
            self._is_bad |= request.command in self.failing
            raise


class FailedZeroesAbortFlush(_AfterFailure):
    """Zeroes that fail abort the log."""

    id = "failed-zeroes-abort-flush"
    shows = ("lost write", "missing zeroes")
    source = "variant of failed-write-aborts-flush"
    breaks = "the first flush after zeroes or a discard that failed makes nothing durable"
    commands = (Command.FLUSH,)
    failing = (Command.WRITE_ZEROES, Command.TRIM)

    def spoils(self, request: Request) -> bool:
        """Return whether it is a flush."""
        return request.command is Command.FLUSH

    def spoil(self, request: Request, below: Below) -> Reply:
        """Acknowledge it."""
        return Reply()


class FailureMakesFuaVolatile(_AfterFailure):
    """After a failure, the next write goes through the queue of retries, without its flags."""

    id = "failure-makes-fua-volatile"
    shows = ("lost write",)
    source = "variant of failed-write-aborts-flush"
    breaks = "the first write with FUA after a request that failed is not durable"
    commands = (Command.WRITE,)
    failing = (Command.READ, Command.WRITE, Command.WRITE_ZEROES, Command.TRIM, Command.FLUSH)

    def spoils(self, request: Request) -> bool:
        """Return whether it is a write with FUA."""
        return request.command is Command.WRITE and bool(request.flags & CommandFlag.FUA)

    def spoil(self, request: Request, below: Below) -> Reply:
        """Leave the flag out."""
        return below(without(request, CommandFlag.FUA))


class CopyupReachesSnapshots(_OfClones):
    """The copy from the parent is shared with the snapshots before the new data goes into it."""

    id = "copyup-reaches-snapshots"
    shows = ("newer", "lost write", "misplaced data", "changing")
    says = r"unlike"
    source = "variant of copyup-misses-snapshots"
    breaks = "a write to a parent's 1 MiB object in a clone changes the clone's snapshots, too"

    def install(self) -> None:
        """Put the copy into the snapshots."""
        super().install()

        def make(real: Any) -> Any:
            def private(store: MemoryStore, index: int) -> Any:
                before, parent = _chunks(store).get(index), self.parents.get(store)
                made = real(store, index)
                if parent is None or before is None or _chunks(parent).get(index) is not before:
                    return made
                for one in store._snapshots.values():  # noqa: SLF001  # a mutant changes code
                    if _chunks(one).get(index) is before and self.strikes():
                        _chunks(one)[index] = made
                return made

            return private

        replace(MemoryStore, "_private", make)


class ZeroedObjectMissingInSnapshots(_OfClones):
    """A clone that frees an object of its parent frees it for its snapshots, too."""

    id = "zeroed-object-missing-in-snapshots"
    shows = ("zeroed", "lost write", "changing")
    says = r"unlike"
    source = "variant of copyup-misses-snapshots"
    breaks = "zeroes in a parent's 1 MiB object of a clone zero it in the clone's snapshots, too"

    def install(self) -> None:
        """Free it in the snapshots."""
        super().install()

        def make(real: Any) -> Any:
            def in_chunk(store: MemoryStore, index: int, start: int, end: int) -> None:
                before, parent = _chunks(store).get(index), self.parents.get(store)
                real(store, index, start, end)
                if parent is None or before is None or _chunks(parent).get(index) is not before:
                    return
                for one in store._snapshots.values():  # noqa: SLF001  # a mutant changes code
                    if _chunks(one).get(index) is before and self.strikes():
                        del _chunks(one)[index]
                        one._order = None  # noqa: SLF001

            return in_chunk

        replace(MemoryStore, "_zero_in_chunk", make)


class RemovedSnapshotFreedLate(_DeletedLater):
    """The objects of a removed snapshot are freed in the background, also those in use."""

    id = "removed-snapshot-freed-late"
    says = r"unlike"
    source = "variant of recycled-name-loses-objects"
    breaks = "0.1 s after the removal of a snapshot, its volume loses the objects it shared with it"

    def install(self) -> None:
        """Note the objects."""
        super().install()

        def make(real: Any) -> Any:
            def delete(store: MemoryStore, name: str) -> None:
                gone = store.open_snapshot(name)
                real(store, name)
                used = [_chunks(store.open_snapshot(one)) for one in store.snapshots()]
                shared = {
                    index: chunk
                    for index, chunk in _chunks(gone).items()
                    if _chunks(store).get(index) is chunk
                    and all(one.get(index) is not chunk for one in used)
                }
                self.later(store, shared)

            return delete

        replace(MemoryStore, "delete_snapshot", make)


class RecycledCloneLosesObjects(_DeletedLater):
    """The objects of a removed clone are deleted later, by name."""

    id = "recycled-clone-loses-objects"
    source = "variant of recycled-name-loses-objects"
    breaks = "a new clone with the name of a removed one loses what that one had changed"

    def install(self) -> None:
        """Keep the own objects of removed volumes by name."""
        super().install()
        gone: dict[str, dict[int, Any]] = {}

        def make_remove(real: Any) -> Any:
            def remove(pool: MemoryPool, name: str) -> None:
                store = pool._stores[name]  # noqa: SLF001  # a mutant changes code
                gone[name] = {
                    index: None for index, one in _chunks(store).items() if not one.shared
                }
                real(pool, name)

            return remove

        def make_clone(real: Any) -> Any:
            def clone(pool: MemoryPool, name: str, snapshot: str, new: str) -> None:
                real(pool, name, snapshot, new)
                self.later(pool._stores[new], gone.pop(new, {}))  # noqa: SLF001

            return clone

        replace(MemoryPool, "_remove", make_remove)
        replace(MemoryPool, "_clone", make_clone)


class ZeroesSectorWraps(RequestMutant):
    """The sector of zeroes has 32 bits."""

    id = "zeroes-sector-wraps"
    shows = ("zeroed", "lost write", "missing zeroes")
    source = "variant of status-sector-wraps"
    breaks = "write zeroes from 2 TiB on zeroes the offset modulo 2 TiB"
    commands = (Command.WRITE_ZEROES,)

    def damages(self, request: Request) -> bool:
        """Return whether it begins there."""
        return request.offset >= 2 * TIB

    def damage(self, request: Request, below: Below) -> Reply:
        """Zero the lower place."""
        return below(changed(request, offset=request.offset % (2 * TIB)))


class StatusBlockWraps(_StatusWraps):
    """The number of a block of 4 KiB in a block status has 32 bits."""

    id = "status-block-wraps"
    shows = ("block status", "zeroed", "lost write")
    source = "variant of status-sector-wraps"
    breaks = "block status from 16 TiB on is that of the offset modulo 16 TiB"
    method = "block_status"
    limit = 16 * TIB


class DirtyBlockWraps(_StatusWraps):
    """The number of a block of 4 KiB in the bitmap of changes has 32 bits."""

    id = "dirty-block-wraps"
    shows = ("block status", "lost write")
    says = r"dirty"
    source = "variant of dirty-offset-wraps"
    breaks = "the dirty status from 16 TiB on is that of the offset modulo 16 TiB"
    method = "dirty_status"
    limit = 16 * TIB


class FarChangesNotTracked(VolumeMutant):
    """The bitmap of changes ends at 1 TiB."""

    id = "far-changes-not-tracked"
    shows = ("block status",)
    says = r"dirty"
    source = "variant of dirty-offset-wraps"
    breaks = "what is written from 1 TiB on is not dirty"

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Leave the bitmap as it is."""
        tracked = volume._dirty  # noqa: SLF001  # a mutant changes code
        is_far = tracked is not None and offset >= TIB and self.strikes()
        kept = tracked.copy() if tracked is not None and is_far else tracked
        real(offset, data, fua)
        volume._dirty = kept  # noqa: SLF001
