"""Snapshots, clones, growth: a sixth collection of bugs (docs/bugs.md)."""

from __future__ import annotations

import threading
import time
import weakref
from typing import Any

from blockio.errors import VolumeExists
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.lineage import _OfClones
from mutants.mutant import BLOCK, Mutant, whole_blocks
from mutants.patching import replace
from mutants.third_snapshots import _chunks
from mutants.volume_mutant import Real, VolumeMutant
from reference_backend.blocking_requests import mark_under_way
from reference_backend.memory_pool import MemoryPool
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.volume import Volume

_UNIT = 65536
_MOST = 256
_GROUP = 4


class RefusedSnapshotReplaces(Mutant):
    """A snapshot whose name is taken is refused after the file of that name was replaced."""

    id = "refused-snapshot-replaces"
    shows = ("newer", "changing", "lost write", "misplaced data")
    says = r"unlike|snapshot"
    source = "longhorn issue 3844"
    breaks = "a snapshot that is refused, because its name is taken, replaces the one of that name"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Replace, and refuse."""

        def make(real: Any) -> Any:
            def snapshot(pool: MemoryPool, name: str, which: str) -> None:
                try:
                    real(pool, name, which)
                except VolumeExists:
                    volume = pool.open(name)
                    store = volume.store
                    if isinstance(store, MemoryStore) and which in store.snapshots():
                        self._replace(pool, volume, which)
                    raise

            return snapshot

        replace(MemoryPool, "snapshot", make)

    def _replace(self, pool: MemoryPool, volume: Volume, which: str) -> None:
        if not self.strikes():
            return
        with volume._lock:  # noqa: SLF001  # a mutant changes code
            volume.store.snapshot(which)
        opened = pool._open.get(f"{volume.name}@{which}")  # noqa: SLF001
        if opened is not None and isinstance(volume.store, MemoryStore):
            opened.store = opened._powered = volume.store.open_snapshot(which)  # noqa: SLF001
            opened.size = opened.store.size


class RemovalDuringRemoval(Mutant):
    """Two removed snapshots are merged in the background at once, and the older one wins."""

    id = "removal-during-removal"
    shows = ("lost write", "stale", "misplaced data")
    source = "longhorn issue 581 (a race of purges)"
    breaks = (
        "a snapshot that is removed within 0.1 s after an older one gives the volume older data"
    )
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Note removals."""
        newest: weakref.WeakKeyDictionary[MemoryStore, tuple[float, MemoryStore]] = (
            weakref.WeakKeyDictionary()
        )

        def make(real: Any) -> Any:
            def remove(pool: MemoryPool, name: str, snapshot: str) -> None:
                store = pool._stores[name]  # noqa: SLF001  # a mutant changes code
                gone = store.open_snapshot(snapshot)
                real(pool, name, snapshot)
                now_s = clock.now_s()
                before_s, older = newest.get(store, (0.0, gone))
                newest[store] = now_s, gone
                if now_s - before_s >= 0.1:
                    return
                for index, chunk in list(_chunks(gone).items()):
                    was = _chunks(older).get(index, chunk)
                    is_kept = _chunks(store).get(index) is chunk
                    if was is not chunk and is_kept and self.strikes():
                        was.shared = True
                        _chunks(store)[index] = was

            return remove

        replace(MemoryPool, "_remove_snapshot", make)


class HydrationUndoesZeroes(_OfClones):
    """A region of a clone is copied in the background although it was zeroed meanwhile."""

    id = "hydration-undoes-zeroes"
    shows = ("missing zeroes", "lost write")
    says = r"not zero"
    source = "class known from clones that are filled in the background (dm-clone, librbd flatten)"
    breaks = "zeroes that are the first change in 1 MiB of a clone are undone 50 ms later"

    def install(self) -> None:
        """Copy 50 ms late."""
        super().install()

        def make(real: Any) -> Any:
            def zero(volume: Volume, offset: int, length: int, *rest: Any, **named: Any) -> None:
                store = volume.store
                whole = whole_blocks(offset, length, _UNIT)
                parent = self.parents.get(store) if isinstance(store, MemoryStore) else None
                index = offset // CHUNK_BYTES
                is_first = (
                    parent is not None
                    and bool(whole)
                    and whole[0] * _UNIT // CHUNK_BYTES == index
                    and _chunks(parent).get(index) is not None
                    and _chunks(store).get(index) is _chunks(parent).get(index)  # type: ignore[arg-type]
                )
                real(volume, offset, length, *rest, **named)
                if is_first:
                    timer = threading.Timer(0.05, self._copy, [volume, parent, whole[0] * _UNIT])
                    timer.daemon = True
                    timer.start()

            return zero

        replace(Volume, "write_zeroes", make)
        replace(Volume, "discard", make)

    def _copy(self, volume: Volume, parent: MemoryStore, base: int) -> None:
        with volume._lock:  # noqa: SLF001  # a mutant changes code
            if base + _UNIT > volume.size or any(volume.store.read(base, _UNIT)):
                return
            if self.strikes():
                volume.store.write(base, parent.read(base, _UNIT))


class StripeFetchedTwice(_OfClones):
    """Two requests fetch one stripe of a clone, and the later copy overwrites a write."""

    id = "stripe-fetched-twice"
    shows = ("stale", "lost write", "not linearizable", "misplaced data")
    source = "ubiblk 0.2.1 (repeated fetches)"
    breaks = (
        "of a read and a write that touch 1 MiB of a clone first, at one time, the write is lost"
    )
    pauses = True

    def install(self) -> None:
        """Take 1 ms to fetch for a read, and half of it for a write."""
        super().install()
        fetched: weakref.WeakKeyDictionary[Any, set[int]] = weakref.WeakKeyDictionary()

        def is_missing(volume: Volume, index: int) -> bool:
            parent = self.parents.get(volume.store)  # type: ignore[call-overload]
            known = fetched.setdefault(volume.store, set()) if parent is not None else {index}
            return index not in known and _chunks(parent).get(index) is not None

        def make_read(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                index, store = offset // CHUNK_BYTES, volume.store
                if not length or not is_missing(volume, index):
                    return real(volume, offset, length)  # type: ignore[no-any-return]
                mark_under_way()
                time.sleep(0.001)
                if not is_missing(volume, index) and self.strikes():
                    base = index * CHUNK_BYTES
                    parent = self.parents[store]  # type: ignore[index]
                    size = min(CHUNK_BYTES, parent.size - base, volume.size - base)
                    if size > 0:
                        with volume._lock:  # noqa: SLF001  # a mutant changes code
                            store.write(base, parent.read(base, size))
                fetched[store].add(index)
                return real(volume, offset, length)  # type: ignore[no-any-return]

            return read

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                index = offset // CHUNK_BYTES
                if is_missing(volume, index):
                    mark_under_way()
                    time.sleep(0.0005)
                    fetched[volume.store].add(index)
                real(volume, offset, data, fua)

            return write

        replace(Volume, "read", make_read)
        replace(Volume, "write", make_write)


class CloneTableRace(_OfClones):
    """Two writes copy one table of a clone for their entries, and the later copy wins."""

    id = "clone-table-race"
    shows = ("stale", "lost write", "not linearizable", "misplaced data")
    source = "cloud-hypervisor issue 8621 (several queues with a backing file)"
    breaks = "of first writes to two objects in 4 MiB of a clone at the same time, one is undone"
    pauses = True

    def install(self) -> None:
        """Take 0.5 ms from reading a table to writing it."""
        super().install()
        done: list[tuple[Any, int, float]] = []

        def make(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                store, index = volume.store, offset // CHUNK_BYTES
                parent = self.parents.get(store) if isinstance(store, MemoryStore) else None
                theirs = None if parent is None else _chunks(parent).get(index)
                if theirs is None or _chunks(store).get(index) is not theirs:  # type: ignore[arg-type]
                    real(volume, offset, data, fua)
                    return
                begun_s = time.monotonic()
                mark_under_way()
                time.sleep(0.0005)
                real(volume, offset, data, fua)
                with volume._lock:  # noqa: SLF001  # a mutant changes code
                    for one, other, when_s in done[-_GROUP:]:
                        is_near = other // _GROUP == index // _GROUP and other != index
                        if one is store and is_near and when_s > begun_s and self.strikes():
                            _chunks(store)[other] = _chunks(parent)[other]  # type: ignore[arg-type]
                    done.append((store, index, time.monotonic()))
                    del done[:-_MOST]

            return write

        replace(Volume, "write", make)


class TailCachedOverGrowth(VolumeMutant):
    """The last block is cached, padded with zeroes, and a growth does not drop it."""

    id = "tail-cached-over-growth"
    shows = ("zeroed", "lost write")
    source = "class known from page caches behind the end of a file that grows (NFS, FUSE, 9p)"
    breaks = "if the last part block is read before a growth, it hides what is written behind it"

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Read the last block through the cache."""
        data: bytes = real(offset, length)
        size = volume.size
        base = size // BLOCK * BLOCK
        if size % BLOCK and length and offset < size <= offset + length and offset <= base:
            self.put(volume, (base, size, bytes(data[base - offset :])))
            return data
        cached = self.of(volume)
        if cached is None:
            return data
        base, size, _ = cached
        first, after = max(offset, size), min(offset + length, base + BLOCK)
        if first < after and any(data[first - offset : after - offset]) and self.strikes():
            return data[: first - offset] + bytes(after - first) + data[after - offset :]
        return data

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Invalidate the block if the write touches what was inside the volume."""
        real(offset, data, fua)
        cached = self.of(volume)
        if cached is not None and offset < cached[1] and offset + len(data) > cached[0]:
            self.put(volume, None)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Start again."""
        real(seed)
        self.put(volume, None)
