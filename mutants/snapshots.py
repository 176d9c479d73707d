"""Snapshots, clones, and many exports of one server (docs/bugs.md, groups H and J)."""

from __future__ import annotations

import errno
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from mutants.knobs import ALWAYS
from mutants.mutant import BLOCK, Mutant, RequestMutant, blocks
from mutants.patching import change_snapshots, replace
from reference_backend.memory_pool import MemoryPool
from reference_backend.nbd.agreement import Agreement
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.volume import Volume

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)
_UNIT = 65536


class SnapshotMapUnderIo(Mutant):
    """The map of a snapshot is older than its data."""

    id = "snapshot-map-under-io"
    shows = ("lost", "newer", "zeroed")
    source = "ceph PR 52109, PR 39155"
    breaks = "blocks first written while a snapshot is taken are holes in the snapshot"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Copy the map, wait 10 ms, copy the data."""

        def make(real: Any) -> Any:
            def snapshot(volume: Volume, name: str) -> None:
                store = volume.store
                if not isinstance(store, MemoryStore):
                    real(volume, name)
                    return
                lock = volume._lock  # noqa: SLF001  # a mutant changes code
                with lock:
                    before = _present(store)
                time.sleep(0.01)
                real(volume, name)
                with lock:
                    frozen = store.open_snapshot(name)
                    missed = sorted(_present(frozen) - before)
                    for number in missed if missed and self.strikes() else ():
                        frozen.zero(number * BLOCK, BLOCK, allocate=False)

            return snapshot

        replace(Volume, "snapshot", make)


def _present(store: MemoryStore) -> set[int]:
    """Return the numbers of the blocks that hold data."""
    found: set[int] = set()
    for start, end in store.data(0, store.size):
        found.update(blocks(start, end - start))
    return found


class SnapshotNotPointInTime(Mutant):
    """A block that was not saved yet is read from the volume without a second check."""

    id = "snapshot-not-point-in-time"
    shows = ("newer", "lost", "other write", "changing")
    says = r"unlike|what was written after"
    source = "QEMU f8d59dfb40"
    breaks = "a read of the newest snapshot that races with a first overwrite returns new data"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Read from the volume what the snapshot has not saved."""

        def change(pool: MemoryPool, name: str, snapshot: str, volume: Volume) -> None:
            def is_newest() -> bool:
                return pool.snapshots(name)[-1] == snapshot

            _read_through(volume, pool.open(name), is_newest, self.strikes)

        change_snapshots(change)


def _read_through(
    snapshot: Volume, head: Volume, is_newest: Callable[[], bool], strikes: Callable[[], bool]
) -> None:
    saved = snapshot.read

    def read(offset: int, length: int) -> bytes:
        dirty = head._dirty  # noqa: SLF001  # what was written since the snapshot
        numbers = blocks(offset, length)
        inside = offset + length <= min(head.size, snapshot.size)
        if dirty is None or not inside or not numbers or not is_newest():
            return saved(offset, length)
        if any(dirty.inside(numbers[0], numbers[-1] + 1)):
            return saved(offset, length)
        time.sleep(0.0005)  # the block is not saved; it is fetched
        found, right = head.read(offset, length), saved(offset, length)
        return found if found != right and strikes() else right

    snapshot.read = read  # type: ignore[method-assign]  # a mutant changes code


class SnapshotDeleteSharedBlock(Mutant):
    """Removing a snapshot frees blocks that are still in use."""

    id = "snapshot-delete-shared-block"
    shows = ("newer", "foreign", "lost", "changing", "misplaced data")
    says = r"unlike"
    source = "AWS EBS, August 2011"
    breaks = "removing a snapshot frees the 1 MiB objects new in it, although others use them"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Free objects without counting references."""
        free: list[Any] = []

        def delete(real: Any) -> Any:
            def delete_snapshot(store: MemoryStore, name: str) -> None:
                names = store.snapshots()
                at = names.index(name)
                older = _used(store.open_snapshot(one) for one in names[:at])
                newer = _used(store.open_snapshot(one) for one in names[at + 1 :])
                new = _used([store.open_snapshot(name)]).keys() - older.keys()
                shared = new & (newer.keys() | _used([store]).keys())
                if shared and self.strikes():
                    free.extend(chunk for chunk in _used([store.open_snapshot(name)]).values()
                                if id(chunk) in shared)  # fmt: skip
                real(store, name)

            return delete_snapshot

        def private(real: Any) -> Any:
            def make(store: MemoryStore, index: int) -> Any:
                chunk = real(store, index)
                if not free:
                    return chunk
                reused = free.pop()
                reused.data[:] = chunk.data[:]
                reused.blocks[:] = chunk.blocks
                reused.shared = False
                _chunks(store)[index] = reused
                return reused

            return make

        replace(MemoryStore, "delete_snapshot", delete)
        replace(MemoryStore, "_private", private)


def _used(stores: Iterable[MemoryStore]) -> dict[int, Any]:
    """Return the objects of all stores by identity."""
    return {id(chunk): chunk for store in stores for chunk in _chunks(store).values()}


def _chunks(store: MemoryStore) -> dict[int, Any]:
    return store._chunks  # noqa: SLF001  # a mutant changes code


class CloneCopyupLost(Mutant):
    """A clone's object whose first change is not a write begins empty."""

    id = "clone-copyup-lost"
    shows = ("zeroed",)
    source = "ceph PR 4730, PR 53672, PR 18887"
    breaks = "zeroing, discarding or cutting off part of a clone's 1 MiB object loses the rest"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Copy the parent's object up for writes only."""
        clones: weakref.WeakSet[MemoryStore] = weakref.WeakSet()

        def clone(real: Any) -> Any:
            def make(store: MemoryStore) -> MemoryStore:
                made: MemoryStore = real(store)
                clones.add(made)
                return made

            return make

        def zero(real: Any) -> Any:
            def in_chunk(store: MemoryStore, index: int, start: int, end: int) -> None:
                is_part = end - start < CHUNK_BYTES and _chunks(store)[index].shared
                if store in clones and is_part and self.strikes():
                    start, end = 0, CHUNK_BYTES
                real(store, index, start, end)

            return in_chunk

        replace(MemoryStore, "clone", clone)
        replace(MemoryStore, "_zero_in_chunk", zero)


class CrossConnectionState(RequestMutant):
    """State of a connection is kept in a global."""

    id = "cross-connection-state"
    shows = ("zeroed", "never written", "stale", "lost")
    says = r"not permitted|read.only"
    source = "nbdkit f71080b1, f1ffde56"
    breaks = "size and permission of all connections are those of the export opened last"
    commands = (Command.READ, *_CHANGES)

    def install(self) -> None:
        """Keep the device that was opened last."""
        self._last: Any = None

        def make(real: Any) -> Any:
            def enter(agreement: Agreement, export: str, device: Any, flags: Any) -> None:
                self._last = device
                real(agreement, export, device, flags)

            return enter

        replace(Agreement, "enter", make)

    def damages(self, request: Request) -> bool:
        """Return whether the export opened last has another permission or a smaller size."""
        is_change = request.command in _CHANGES
        is_beyond = request.length > 0 and request.offset + request.length > self._last.size
        return is_beyond or (is_change and self._last.read_only)

    def damage(self, request: Request, below: Below) -> Reply:
        """Refuse or drop a change; return zeroes for what is beyond the size."""
        if request.command in _CHANGES:
            if self._last.read_only:
                raise BlockError(errno.EPERM, "the export is read-only")
            return Reply()
        kept = max(0, self._last.size - request.offset)
        data = bytes(below(request).data)
        return Reply(data=data[:kept] + bytes(len(data) - kept))


class CopiedLater(MemoryStore):
    """A clone that is copied in the background, 64 KiB at a time; the rest is read from the parent.

    This class is right: a unit is copied before it is changed.

    :param strikes: called by subclasses where a bug would do damage.
    """

    def __init__(self, parent: MemoryStore, strikes: Callable[[], bool]) -> None:
        super().__init__(parent.size)
        self._parent = parent
        self._strikes = strikes
        self._left = set(range(-(-parent.size // _UNIT)))

    def step(self) -> bool:
        """Copy one unit, and return whether there are more."""
        if self._left:
            self._pull(min(self._left))
        return bool(self._left)

    def _pull(self, unit: int) -> None:
        self._left.discard(unit)
        start = unit * _UNIT
        end = min(start + _UNIT, self.size, self._parent.size)
        for first, after in self._parent.data(start, end):
            super().write(first, self._parent.read(first, after - first))

    def _copy_up(self, offset: int, length: int) -> None:
        for unit in blocks(offset, length, _UNIT):
            if unit in self._left:
                self._pull(unit)

    def read(self, offset: int, length: int) -> bytes:
        """Read copied units from here, and others from the parent."""
        found = bytearray(super().read(offset, length))
        for unit in blocks(offset, length, _UNIT):
            start = max(unit * _UNIT, offset)
            end = min((unit + 1) * _UNIT, offset + length, self._parent.size)
            if unit in self._left and start < end:
                found[start - offset : end - offset] = self._parent.read(start, end - start)
        return bytes(found)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Copy the touched units, and write."""
        self._copy_up(offset, len(data))
        super().write(offset, data)

    def zero(self, offset: int, length: int, allocate: bool) -> None:
        """Copy the touched units, and zero."""
        self._copy_up(offset, length)
        super().zero(offset, length, allocate)

    def data(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the ranges that hold data here or in the parent."""
        for unit in blocks(offset, end - offset, _UNIT) if offset < end else ():
            start, stop = max(offset, unit * _UNIT), min(end, (unit + 1) * _UNIT)
            if unit in self._left:
                yield from self._parent.data(start, min(stop, self._parent.size))
            else:
                yield from super().data(start, stop)

    def snapshot(self, name: str) -> None:
        """Copy all units, and take a snapshot."""
        while self.step():
            pass
        super().snapshot(name)


class _PartlyWritten(CopiedLater):
    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Mark units as copied that are written only in part."""
        units = self._left.intersection(blocks(offset, len(data), _UNIT))
        whole = (offset | len(data)) % _UNIT == 0
        if units and not whole and self._strikes():
            self._left -= units
        super().write(offset, data)


class _CopiesToItsEnd(CopiedLater):
    def resize(self, size: int) -> None:
        """Cut off the end, and keep the list of units to copy."""
        if size < self.size and self._left and max(self._left) * _UNIT >= size and self._strikes():
            MemoryStore.zero(self, size, self.size - size, allocate=False)
            self.size = size
        else:
            super().resize(size)


def clone_behind(kind: type[CopiedLater], strikes: Callable[[], bool]) -> None:
    """Create clones at once, and copy them in the background, 3 ms a unit."""

    def make(_: Any) -> Any:
        def clone(pool: MemoryPool, name: str, snapshot: str, new: str) -> None:
            stores = pool._stores  # noqa: SLF001  # a mutant changes code
            store = kind(stores[name].open_snapshot(snapshot), strikes)
            stores[new] = store
            volume = pool.open(new)
            threading.Thread(target=_copy_all, args=(volume, store), daemon=True).start()

        return clone

    replace(MemoryPool, "_clone", make)


def _copy_all(volume: Volume, store: CopiedLater) -> None:
    more = True
    while more:
        time.sleep(0.003)
        with volume._lock:  # noqa: SLF001  # a mutant changes code
            more = store.step()


class RebuildGranularityMismatch(Mutant):
    """A background copy and concurrent writes count in different units."""

    id = "rebuild-granularity-mismatch"
    shows = ("zeroed",)
    source = "longhorn issue 4354, longhorn-engine PR 750"
    breaks = "a write to a clone that is being copied marks a whole 64 KiB unit as copied"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Copy clones in the background."""
        clone_behind(_PartlyWritten, self.strikes)


class ResizeDuringCopy(Mutant):
    """A background copy continues to an end that has moved."""

    id = "resize-during-copy"
    shows = ("missing zeroes", "other write")
    source = "longhorn issues 11484, 6078; QEMU 5416a11eb5"
    breaks = "data cut off from a clone during its copy reappears when the clone grows"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Copy clones in the background."""
        clone_behind(_CopiesToItsEnd, self.strikes)
