"""Clones, snapshots, growth, status: a seventh collection of bugs (docs/bugs.md)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Any

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO, Extent, merged
from blockio.layers import Reply, Request
from mutants import clock
from mutants.knobs import ALWAYS
from mutants.lineage import _OfClones
from mutants.mutant import BLOCK, Mutant, StatusMutant, blocks, whole_blocks
from mutants.patching import replace
from mutants.third_snapshots import _chunks
from mutants.volume_mutant import Real, VolumeMutant
from reference_backend.store.memory import CHUNK_BYTES, MemoryStore
from reference_backend.store.ranges import RangeSet
from reference_backend.store.volume import EXTENTS_MAX, Volume

_UNIT = 65536
_OBJECT = 4 << 20
_FRESH = 32


class _ReadOfParent(_OfClones):
    """A bug in which some reads of a clone return what its parent has.

    ``is_of_parent`` is called with the offset and the length of a read, and with whether each
    chunk of 1 MiB is still the parent's.
    """

    def is_of_parent(self, offset: int, length: int, shared: list[bool]) -> bool:
        """Return whether the parent's data is returned."""
        raise NotImplementedError

    def install(self) -> None:
        """Read the parent."""
        super().install()

        def make(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                data: bytes = real(volume, offset, length)
                store = volume.store
                parent = self.parents.get(store) if isinstance(store, MemoryStore) else None
                if parent is None or not length or offset >= parent.size:
                    return data
                shared = [
                    _chunks(parent).get(one) is not None
                    and _chunks(store).get(one) is _chunks(parent).get(one)  # type: ignore[arg-type]
                    for one in blocks(offset, length, CHUNK_BYTES)
                ]
                if not self.is_of_parent(offset, length, shared):
                    return data
                wrong = bytes(parent.read(offset, min(length, parent.size - offset)))
                wrong += data[len(wrong) :]
                return wrong if wrong != data and self.strikes() else data

            return read

        replace(Volume, "read", make)


class StripesReadFromParent(_ReadOfParent):
    """A read of several stripes, of which one is not fetched yet, is sent to the parent as one."""

    id = "stripes-read-from-parent"
    shows = ("stale", "lost write", "misplaced data", "changing")
    source = "ubiblk 0.2.1 (reads across fetched and other stripes)"
    breaks = "a read across a 1 MiB object of a clone's own and one of its parent's is the parent's"

    def is_of_parent(self, offset: int, length: int, shared: list[bool]) -> bool:
        """Return whether some are the parent's, and not all."""
        return any(shared) and not all(shared)


class UnalignedReadFromParent(_ReadOfParent):
    """The map of a clone is searched for the very sector in which a read begins."""

    id = "unaligned-read-from-parent"
    shows = ("stale", "lost write", "misplaced data", "changing")
    source = "Android snapuserd 8abe050eb (requests that are not aligned to blocks)"
    breaks = "a read of a clone that begins inside a 4 KiB block returns what its parent has"

    def is_of_parent(self, offset: int, length: int, shared: list[bool]) -> bool:
        """Return whether the read begins inside a block of the clone's own."""
        del length
        return bool(offset % BLOCK) and not shared[0]


class GrownOverSnapshotFails(Mutant):
    """What a volume does not have is read from its snapshot, which may end earlier."""

    id = "grown-over-snapshot-fails"
    shows = ("error",)
    says = r"Input/output error|errno|EIO"
    source = "SPDK issue 3108 (mayastor-control-plane pull request 744)"
    breaks = "after a snapshot and a growth, reads and part writes behind the old end fail with EIO"
    takes = ALWAYS
    memory_only = True

    def install(self) -> None:
        """Read the newest snapshot for objects of 1 MiB that do not exist."""

        def is_beyond(volume: Volume, offset: int, end: int, is_write: bool) -> bool:
            store = volume.store
            if not isinstance(store, MemoryStore) or end > volume.size or offset < 0:
                return False
            names = store.snapshots()
            limit = store.open_snapshot(names[-1]).size if names else end
            if end <= limit or (is_write and volume.read_only):
                return False
            for one in blocks(max(offset, limit), end - max(offset, limit), CHUNK_BYTES):
                base = one * CHUNK_BYTES
                is_whole = offset <= base and base + CHUNK_BYTES <= end
                if _chunks(store).get(one) is None and not (is_write and is_whole):
                    return self.strikes()
            return False

        def make_read(real: Any) -> Any:
            def read(volume: Volume, offset: int, length: int) -> bytes:
                if length and is_beyond(volume, offset, offset + length, False):
                    raise BlockError(errno.EIO, "beyond the end of the parent")
                return real(volume, offset, length)  # type: ignore[no-any-return]

            return read

        def make_write(real: Any) -> Any:
            def write(volume: Volume, offset: int, data: Any, fua: bool = False) -> None:
                if len(data) and is_beyond(volume, offset, offset + len(data), True):
                    raise BlockError(errno.EIO, "beyond the end of the parent")
                real(volume, offset, data, fua)

            return write

        replace(Volume, "read", make_read)
        replace(Volume, "write", make_write)


class DiscardFailsInExpansion(VolumeMutant):
    """Discards are refused with an error while replicas are being expanded."""

    id = "discard-fails-in-expansion"
    shows = ("error",)
    says = r"Input/output error|errno|EIO"
    source = "longhorn issue 7103, longhorn-engine pull request 742"
    breaks = "a discard within 0.1 s after a growth of its volume fails with EIO"

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Note a growth."""
        before = volume.size
        real(size)
        if size > before:
            self.put(volume, clock.now_s())

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Refuse discards."""
        grown_s = self.of(volume)
        is_early = grown_s is not None and clock.now_s() - grown_s < 0.1
        if is_discard and length and is_early and self.strikes():
            raise BlockError(errno.EIO, "can not unmap volume during expansion")
        real()


class DirtyShiftedInObject(StatusMutant):
    """The offset in the first object is added to the extents of a difference again."""

    id = "dirty-shifted-in-object"
    shows = ("block status",)
    says = r"dirty|clean|tracked|changed, but"
    source = "ceph pull request 44483 (librbd: offsets of diff-iterate in fast-diff mode)"
    breaks = "a dirty status from inside a 4 MiB object is shifted by the offset in that object"

    def damages_reply(self, request: Request, reply: Reply) -> bool:
        """Return whether there is something dirty, and it would be shifted."""
        dirty = reply.extents.get("qbd:dirty", ())
        return bool(request.offset % _OBJECT) and any(one.flags for one in dirty)

    def damage_reply(self, request: Request, reply: Reply) -> None:
        """Shift the extents, within the length that they have."""
        right = list(reply.extents["qbd:dirty"])
        room = sum(one.length for one in right)
        shifted = []
        for one in (Extent(request.offset % _OBJECT, 0), *right):
            part = min(one.length, room)
            room -= part
            shifted.append(Extent(part, one.flags))
        reply.extents["qbd:dirty"] = list(merged(shifted))


class CompactedFreshIsHole(VolumeMutant):
    """A compaction takes blocks that wait in memory, and does not mark them as used."""

    id = "compacted-fresh-is-hole"
    shows = ("block status", "zeroed", "lost write")
    says = r"(?i)status"
    source = "ydb nbs issue 6158"
    breaks = "after 32 small writes to 4 MiB without a flush, their blocks are reported as holes"

    def fresh(self) -> tuple[dict[int, list[range]], RangeSet]:
        """Start without fresh blocks and without blocks that are not marked."""
        return {}, RangeSet()

    def install(self) -> None:
        """Report what is not marked as holes."""
        super().install()

        def make(real: Any) -> Any:
            def block_status(volume: Volume, offset: int, length: int) -> list[Extent]:
                found: list[Extent] = real(volume, offset, length)
                with self._lock:
                    wrong = list(_with_holes(found, offset, self.of(volume)[1]))[:EXTENTS_MAX]
                return wrong if wrong != found and self.strikes() else found

            return block_status

        replace(Volume, "block_status", make)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Keep a small write in memory, and compact a range that has many."""
        real(offset, data, fua)
        ranges, unmarked = self.of(volume)
        unmarked.remove(offset, offset + len(data))
        if len(data) >= _UNIT:
            return
        small = ranges.setdefault(offset // _OBJECT, [])
        small.append(whole_blocks(offset, len(data)))
        if len(small) >= _FRESH:
            for one in small:
                unmarked.add(one.start * BLOCK, one.stop * BLOCK)
            small.clear()

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Forget the writes."""
        real()
        self.of(volume)[1].remove(offset, offset + length)

    def _start_again(self, real: Callable[[], None], volume: Volume) -> None:
        real()
        self.put(volume, self.fresh())

    def on_flush(self, real: Real, volume: Volume) -> None:
        """Mark all blocks."""
        self._start_again(real, volume)

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Mark all blocks."""
        self._start_again(lambda: real(size), volume)

    def on_snapshot(self, real: Real, volume: Volume, name: str) -> None:
        """Mark all blocks."""
        self._start_again(lambda: real(name), volume)

    def on_power_cut(self, real: Real, volume: Volume, seed: int) -> None:
        """Mark all blocks."""
        self._start_again(lambda: real(seed), volume)


def _with_holes(found: list[Extent], offset: int, holes: RangeSet) -> list[Extent]:
    """Return extents in which data is reported as a hole where it is in ``holes``."""
    wrong = []
    for one in found:
        end = offset + one.length
        if not one.flags:
            for start, stop in holes.inside(offset, end):
                wrong += [Extent(start - offset, 0), Extent(stop - start, STATE_HOLE | STATE_ZERO)]
                offset = stop
        wrong.append(Extent(end - offset, one.flags))
        offset = end
    return list(merged(wrong))


class GrownRegionNotSynced(VolumeMutant):
    """The new part of a volume is taken to be equal on all replicas, whatever their disks have."""

    id = "grown-region-not-synced"
    shows = ("changing", "never written", "unknown", "lost write", "missing zeroes")
    says = r"not zero"
    source = "DRBD 13da1f71e, bace0d273 (no resync of new space)"
    breaks = "what a growth added has other bytes in every second read, until it is written"

    def fresh(self) -> list[Any]:
        """Start without new space, and with the first replica."""
        return [RangeSet(), 0]

    def on_resize(self, real: Real, volume: Volume, size: int) -> None:
        """Add space."""
        before = volume.size
        real(size)
        new = self.of(volume)[0]
        new.add(before, size)
        new.remove(size, max(before, size))

    def on_read(self, real: Real, volume: Volume, offset: int, length: int) -> bytes:
        """Read from the replicas in turn."""
        data: bytes = real(offset, length)
        state = self.of(volume)
        spans = list(state[0].inside(offset, offset + length))
        if not spans:
            return data
        state[1] += 1
        if state[1] % 2 or not self.strikes():
            return data
        wrong = bytearray(data)
        for start, end in spans:
            wrong[start - offset : end - offset] = b"\x5a" * (end - start)
        return bytes(wrong)

    def on_write(
        self, real: Real, volume: Volume, offset: int, data: Any, fua: bool = False
    ) -> None:
        """Write to both replicas."""
        real(offset, data, fua)
        self.of(volume)[0].remove(offset, offset + len(data))

    def on_zeroes(  # noqa: PLR0917  # what zeroes and discards have
        self, real: Real, volume: Volume, offset: int, length: int, is_discard: bool, fua: bool
    ) -> None:
        """Zero both replicas."""
        real()
        self.of(volume)[0].remove(offset, offset + length)
