"""Volumes in memory: a dictionary of chunks, each an anonymous private mapping.

The kernel allocates pages of 4 KiB of a mapping when they are first written, and frees them by
``madvise(MADV_DONTNEED)``. So memory is proportional to the written bytes, with the granularity of
the file store (4 KiB), and requests still find 1 MiB of contiguous bytes. Transparent huge pages
are switched off, because they would turn each write of 4 KiB into 2 MiB. The kernel merges adjacent
mappings with equal flags, so ``vm.max_map_count`` is no limit in practice.

A chunk has one state byte for each block: 1 if it was written, else 0. Zeroes that must stay
allocated (NBD_CMD_FLAG_NO_HOLE) are ranges in a separate set, so that their length costs nothing.

Snapshots share chunks; the first write to a shared chunk copies it.
"""

from __future__ import annotations

import errno
import mmap
from bisect import bisect_left
from collections.abc import Iterator

from blockio.errors import BlockError
from blockio.extents import Extent
from reference_backend.store.extent_map import extents
from reference_backend.store.ranges import RangeSet

BLOCK_BYTES = 4096
"""Allocation granularity in bytes, like common Linux file systems."""
_BLOCK_SHIFT = 12
_CHUNK_SHIFT = 20
CHUNK_BYTES = 1 << _CHUNK_SHIFT
"""Bytes of one mapping."""
_CHUNK_MASK = CHUNK_BYTES - 1
_CHUNK_BLOCKS = CHUNK_BYTES >> _BLOCK_SHIFT
_ZEROES = bytes(CHUNK_BYTES)
_WRITTEN = b"\x01" * _CHUNK_BLOCKS
_FREE = bytes(_CHUNK_BLOCKS)


class _Chunk:
    """One mapping, the state of its blocks, and whether a snapshot shares it."""

    __slots__ = ("blocks", "data", "shared")

    def __init__(self) -> None:
        try:
            self.data = mmap.mmap(-1, CHUNK_BYTES, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        except OSError as error:  # ENOMEM: to the client the backend has no space left
            raise BlockError(errno.ENOSPC, f"no memory for a chunk: {error}") from error
        self.data.madvise(mmap.MADV_NOHUGEPAGE)
        self.blocks = bytearray(_CHUNK_BLOCKS)
        self.shared = False

    def copy(self) -> _Chunk:
        """Return a private copy; holes stay holes."""
        other = _Chunk()
        other.blocks[:] = self.blocks
        for start, end in _runs_of_data(self.blocks, 0, _CHUNK_BLOCKS):
            at = slice(start << _BLOCK_SHIFT, end << _BLOCK_SHIFT)
            other.data[at] = self.data[at]
        return other


class MemoryStore:
    """Bytes in memory. Not thread-safe; :class:`~reference_backend.store.volume.Volume` locks.

    :param size: in bytes, 0 to 2^63-1. Unwritten ranges take no memory.
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self._chunks: dict[int, _Chunk] = {}
        self._reserved = RangeSet()
        self._order: list[int] | None = None
        self._snapshots: dict[str, MemoryStore] = {}

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``."""
        at = offset & _CHUNK_MASK
        end = at + length
        if end <= CHUNK_BYTES:
            chunk = self._chunks.get(offset >> _CHUNK_SHIFT)
            return chunk.data[at:end] if chunk is not None else _ZEROES[:length]
        return b"".join(self._pieces(offset, length))

    def _pieces(self, offset: int, length: int) -> Iterator[memoryview]:
        end = offset + length
        zeroes = memoryview(_ZEROES)
        while offset < end:
            at = offset & _CHUNK_MASK
            part = min(CHUNK_BYTES - at, end - offset)
            chunk = self._chunks.get(offset >> _CHUNK_SHIFT)
            whole = zeroes if chunk is None else memoryview(chunk.data)
            yield whole[at : at + part]
            offset += part

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store ``data`` at ``offset``."""
        at = offset & _CHUNK_MASK
        length = len(data)
        end = at + length
        if end > CHUNK_BYTES:
            self._write_many(offset, memoryview(data))
            return
        if not length:
            return
        chunk = self._chunks.get(offset >> _CHUNK_SHIFT)
        if chunk is None or chunk.shared:
            chunk = self._private(offset >> _CHUNK_SHIFT)
        chunk.data[at:end] = data
        first = at >> _BLOCK_SHIFT
        after = (end + 4095) >> _BLOCK_SHIFT
        if after - first == 1:
            chunk.blocks[first] = 1
        else:
            chunk.blocks[first:after] = _WRITTEN[: after - first]

    def _write_many(self, offset: int, data: memoryview) -> None:
        done = 0
        while done < len(data):
            part = min(CHUNK_BYTES - (offset & _CHUNK_MASK), len(data) - done)
            self.write(offset, data[done : done + part])
            offset += part
            done += part

    def _private(self, index: int) -> _Chunk:
        """Return a private chunk; create it, or copy it if a snapshot shares it."""
        chunk = self._chunks.get(index)
        if chunk is None:
            chunk = _Chunk()
            self._order = None
        else:
            chunk = chunk.copy()
        self._chunks[index] = chunk
        return chunk

    def zero(self, offset: int, length: int, allocate: bool) -> None:
        """Make the range read as zeroes; free whole blocks, or mark them as allocated."""
        end = offset + length
        for index in self._present(offset, end):
            base = index << _CHUNK_SHIFT
            self._zero_in_chunk(index, max(offset - base, 0), min(end - base, CHUNK_BYTES))
        if allocate:
            self._reserved.add(offset & -BLOCK_BYTES, (end + BLOCK_BYTES - 1) & -BLOCK_BYTES)
        else:
            self._reserved.remove((offset + BLOCK_BYTES - 1) & -BLOCK_BYTES, self._up(end))

    def _up(self, end: int) -> int:
        """Return the end of the last whole block before ``end``; the volume's end counts as one."""
        return (end + BLOCK_BYTES - 1 if end == self.size else end) & -BLOCK_BYTES

    def _zero_in_chunk(self, index: int, start: int, end: int) -> None:
        limit = self._up((index << _CHUNK_SHIFT) + end) - (index << _CHUNK_SHIFT)
        first, after = (start + 4095) >> _BLOCK_SHIFT, limit >> _BLOCK_SHIFT
        chunk = self._chunks[index]
        if chunk.blocks.find(1, start >> _BLOCK_SHIFT, (end + 4095) >> _BLOCK_SHIFT) < 0:
            return  # holes only
        if first < after and chunk.blocks.count(1) == chunk.blocks.count(1, first, after):
            del self._chunks[index]  # the chunk is empty now
            self._order = None
            return
        if chunk.shared:
            chunk = self._private(index)
        if first >= after:
            chunk.data[start:end] = _ZEROES[: end - start]
            return
        head, tail = first << _BLOCK_SHIFT, after << _BLOCK_SHIFT
        chunk.data[start:head] = _ZEROES[: head - start]
        if tail < end:
            chunk.data[tail:end] = _ZEROES[: end - tail]
        chunk.data.madvise(mmap.MADV_DONTNEED, head, tail - head)
        chunk.blocks[first:after] = _FREE[: after - first]

    def _present(self, offset: int, end: int) -> list[int]:
        """Return the numbers of the chunks that exist in ``[offset, end)``, sorted."""
        if offset >= end:
            return []
        first, last = offset >> _CHUNK_SHIFT, (end - 1) >> _CHUNK_SHIFT
        if first == last:
            return [first] if first in self._chunks else []
        if self._order is None:
            self._order = sorted(self._chunks)
        order = self._order
        return order[bisect_left(order, first) : bisect_left(order, last + 1)]

    def is_zero_fast(self, offset: int, length: int, allocate: bool) -> bool:  # noqa: ARG002
        """Return whether zeroing is faster than writing: always, because it only frees pages."""
        return True

    def status(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield the extents of the range in order, without gaps, with neighbours joined."""
        return extents(offset, offset + length, self.data, self._reserved.inside)

    def data(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of ``[offset, end)`` that hold written blocks."""
        for index in self._present(offset, end):
            base = index << _CHUNK_SHIFT
            first = max(offset - base, 0) >> _BLOCK_SHIFT
            after = (min(end - base, CHUNK_BYTES) + BLOCK_BYTES - 1) >> _BLOCK_SHIFT
            for start, stop in _runs_of_data(self._chunks[index].blocks, first, after):
                yield (
                    max(offset, base + (start << _BLOCK_SHIFT)),
                    min(end, base + (stop << _BLOCK_SHIFT)),
                )

    def resize(self, size: int) -> None:
        """Set the size in bytes; a shrink frees the rest, which reads as zeroes after a growth."""
        if size < self.size:
            self.zero(size, self.size - size, allocate=False)
        self.size = size

    def sync(self) -> None:
        """Do nothing: memory has no medium."""

    def snapshot(self, name: str) -> None:
        """Save the present contents under ``name``, sharing all chunks."""
        frozen = MemoryStore(self.size)
        frozen._chunks = self._chunks.copy()
        frozen._reserved = self._reserved.copy()
        for chunk in frozen._chunks.values():
            chunk.shared = True
        self._snapshots[name] = frozen

    def snapshots(self) -> list[str]:
        """Return the names of the snapshots, oldest first."""
        return list(self._snapshots)

    def open_snapshot(self, name: str) -> MemoryStore:
        """Return the frozen store of that snapshot.

        :raise KeyError: no snapshot has that name.
        """
        return self._snapshots[name]

    def delete_snapshot(self, name: str) -> None:
        """Delete the snapshot; free the chunks that are not shared any more.

        :raise KeyError: no snapshot has that name.
        """
        del self._snapshots[name]

    def clone(self) -> MemoryStore:
        """Return a writable store with the same contents, sharing all chunks."""
        self.snapshot("")
        return self._snapshots.pop("")

    def allocated(self) -> int:
        """Return the number of allocated bytes, in whole blocks."""
        return sum(chunk.blocks.count(1) for chunk in self._chunks.values()) << _BLOCK_SHIFT

    def close(self) -> None:
        """Do nothing: the bytes live as long as a pool references this store."""


def _runs_of_data(blocks: bytearray, first: int, after: int) -> Iterator[tuple[int, int]]:
    start = blocks.find(1, first, after)
    while start >= 0:
        stop = blocks.find(0, start, after)
        if stop < 0:
            stop = after
        yield start, stop
        start = blocks.find(1, stop, after)
