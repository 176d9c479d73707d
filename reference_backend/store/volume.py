"""A volume: the bytes of one export, thread-safe, with a write cache that a power cut can lose.

A volume consists of a store (the newest bytes), a write cache (the changes that a power cut may
undo) and a map of dirty blocks. All offsets and lengths are in bytes. Errors are
:class:`~blockio.errors.BlockError` with these errnos:

    EPERM    a change of a read-only volume
    EINVAL   a read, discard, cache or status request outside of the volume; a negative number
    ENOSPC   a write or write-zeroes beyond the end; no space in the store
    ENOTSUP  ``fast_zero`` if zeroing would not be faster than writing
    EIO      the store failed

They follow the NBD document's "Error values" for writes and reads past the end.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import Never

from blockio.errors import BlockError
from blockio.extents import STATE_DIRTY, Extent, merged
from reference_backend.store.interface import BytesLike, Store
from reference_backend.store.ranges import RangeSet
from reference_backend.store.write_cache import SECTOR_BYTES, WriteCache

SIZE_MAX = (1 << 63) - 1
"""The largest volume: offsets are signed 64-bit numbers in QEMU and in the kernel."""
EXTENTS_MAX = 1024
"""Most extents of one block status reply."""
DEFAULT_BLOCK_SIZES = (1, 4096, 32 << 20)
"""Minimum, preferred and maximum block size (NBD document, "Block size constraints")."""
_DIRTY_SHIFT = 12


class Volume:
    """One volume.

    :param store: the store of its bytes.
    :param name: the name that clients use; for messages only.
    :param read_only: refuse all changes with EPERM.
    :param block_sizes: (minimum, preferred, maximum) to advertise; enforced by the server.
    :param undo_limit: bytes of old contents to keep for :meth:`power_cut`; 0 switches the log off.
        Without a log, a power cut loses nothing. Leave it off if nothing can cut the power, because
        it copies the old contents for each write.
    :param write_through: each change is durable when it returns (``--write-cache through``).
    """

    def __init__(
        self,
        store: Store,
        name: str = "",
        *,
        read_only: bool = False,
        block_sizes: tuple[int, int, int] = DEFAULT_BLOCK_SIZES,
        undo_limit: int = 0,
        write_through: bool = False,
    ) -> None:
        self.store: Store = store
        self._powered = store
        self.name = name
        self.size = store.size
        self.read_only = read_only
        self.block_sizes = block_sizes
        self.on_resize: list[Callable[[int], None]] = []
        """Called with the new size, in bytes, after each change of it."""
        self._lock = threading.Lock()
        self._write_through = write_through
        self._cache = WriteCache(undo_limit) if undo_limit else None
        self._dirty: RangeSet | None = None

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes at ``offset``.

        :raise BlockError: EINVAL outside of the volume, EIO.
        """
        with self._lock:  # checked inside the lock, because of concurrent resizes
            if offset < 0 or length < 0 or offset + length > self.size:
                raise _outside(errno.EINVAL, "read", offset, length, self.size)
            return self.store.read(offset, length)

    def write(self, offset: int, data: BytesLike, fua: bool = False) -> None:
        """Store ``data`` at ``offset``; with ``fua`` it is durable on return.

        :raise BlockError: EPERM, ENOSPC, EIO.
        """
        length = len(data)
        with self._lock:
            if self.read_only or offset < 0 or offset + length > self.size:
                raise self._refusal("write", offset, length, errno.ENOSPC)
            if self._cache is not None and not (fua or self._write_through):
                start = offset & -SECTOR_BYTES
                end = min((offset + length + SECTOR_BYTES - 1) & -SECTOR_BYTES, self.size)
                if end - start <= self._cache.largest:
                    self._cache.record(start, end, self.store.read(start, end - start))
                else:
                    self._settle_all()  # larger than the log: everything becomes durable
            if self._dirty is not None:
                self._dirty.add(offset >> _DIRTY_SHIFT, (offset + length + 4095) >> _DIRTY_SHIFT)
            self.store.write(offset, data)
            if fua or self._write_through:
                self._make_durable(offset, offset + length)

    def write_zeroes(
        self,
        offset: int,
        length: int,
        no_hole: bool = False,
        fast_zero: bool = False,
        fua: bool = False,
    ) -> None:
        """Make the range read as zeroes; whole blocks are freed unless ``no_hole``.

        :raise BlockError: EPERM, ENOSPC, EIO; ENOTSUP if ``fast_zero`` and it would not be fast, in
            which case nothing was changed.
        """
        with self._lock:
            self._check_change("write-zeroes", offset, length, errno.ENOSPC)
            if fast_zero and not self.store.is_zero_fast(offset, length, no_hole):
                raise BlockError(errno.ENOTSUP, "zeroing here is no faster than writing")
            self._zero(offset, length, no_hole, fua)

    def discard(self, offset: int, length: int, fua: bool = False) -> None:
        """Discard the range: whole blocks are freed, and all of it reads as zeroes.

        :raise BlockError: EPERM, EINVAL outside of the volume, EIO.
        """
        with self._lock:
            self._check_change("discard", offset, length, errno.EINVAL)
            self._zero(offset, length, False, fua)

    def _zero(self, offset: int, length: int, allocate: bool, fua: bool) -> None:
        """Zero a range that was checked; the caller holds the lock."""
        if not length:
            return
        if self._cache is not None and not (fua or self._write_through):
            start = offset & -SECTOR_BYTES
            end = min((offset + length + SECTOR_BYTES - 1) & -SECTOR_BYTES, self.size)
            pieces = self._old_pieces(start, end)
            if pieces is not None:
                self._cache.record_pieces(start, end, pieces)
        if self._dirty is not None:
            self._dirty.add(offset >> _DIRTY_SHIFT, (offset + length + 4095) >> _DIRTY_SHIFT)
        self.store.zero(offset, length, allocate)
        if fua or self._write_through:
            self._make_durable(offset, offset + length)

    def flush(self) -> None:
        """Make all changes durable that were acknowledged before this call.

        Other requests run in the meantime; their changes stay pending.

        :raise BlockError: EIO; all pending changes stay pending.
        """
        with self._lock:
            mark = self._cache.mark() if self._cache is not None else 0
        self.store.sync()
        if self._cache is not None:
            with self._lock:
                self._cache.settle(mark)

    def cache(self, offset: int, length: int) -> None:
        """Accept a hint that the range will be read soon; only check the range.

        :raise BlockError: EINVAL outside of the volume.
        """
        if offset < 0 or length < 0 or offset + length > self.size:
            raise _outside(errno.EINVAL, "cache", offset, length, self.size)

    def block_status(self, offset: int, length: int) -> list[Extent]:
        """Return the extents from ``offset``: STATE_HOLE and STATE_ZERO bits ("base:allocation").

        They are in order and without gaps. Neighbours differ. There are at most EXTENTS_MAX of
        them, so they may end before the range, but never after it.

        :raise BlockError: EINVAL outside of the volume or for no length.
        """
        with self._lock:
            self._check_status(offset, length)
            return list(islice(self.store.status(offset, length), EXTENTS_MAX))

    def dirty_status(self, offset: int, length: int) -> list[Extent]:
        """Return the extents from ``offset``; STATE_DIRTY means written since the checkpoint.

        :meth:`checkpoint` and each snapshot make a checkpoint. Before the first one, all allocated
        ranges are dirty. The granularity is 4096 bytes.

        :raise BlockError: EINVAL outside of the volume or for no length.
        """
        with self._lock:
            self._check_status(offset, length)
            return list(islice(merged(self._dirty_extents(offset, offset + length)), EXTENTS_MAX))

    def _check_status(self, offset: int, length: int) -> None:
        if offset < 0 or length <= 0 or offset + length > self.size:
            raise _outside(errno.EINVAL, "block status", offset, length, self.size)

    def _dirty_extents(self, offset: int, end: int) -> Iterator[Extent]:
        if self._dirty is None:
            ranges: Iterable[tuple[int, int]] = self.store.data(offset, end)
        else:
            blocks = self._dirty.inside(offset >> _DIRTY_SHIFT, (end + 4095) >> _DIRTY_SHIFT)
            ranges = ((first << _DIRTY_SHIFT, after << _DIRTY_SHIFT) for first, after in blocks)
        for first, after in ranges:
            start, stop = max(first, offset), min(after, end)
            yield Extent(start - offset, 0)
            yield Extent(stop - start, STATE_DIRTY)
            offset = stop
        yield Extent(end - offset, 0)

    def checkpoint(self) -> None:
        """Restart dirty tracking: nothing is dirty after this call."""
        with self._lock:
            self._dirty = RangeSet()

    def resize(self, size: int) -> None:
        """Set the size in bytes. Like a write, it is pending until flushed. New bytes are zeroes.

        :raise BlockError: EPERM, EINVAL for a size outside of 0..SIZE_MAX, EIO.
        """
        if self.read_only:
            raise BlockError(errno.EPERM, f"volume {self.name!r} is read-only")
        if not 0 <= size <= SIZE_MAX:
            raise BlockError(errno.EINVAL, f"size {size} is outside of 0..{SIZE_MAX}")
        with self._lock:
            if self._cache is not None:
                pieces = self._old_pieces(min(size, self.size) & -SECTOR_BYTES, self.size)
                if pieces is not None:
                    self._cache.record_resize(self.size, size, pieces)
            if self._dirty is not None:
                low, high = sorted((size, self.size))
                self._dirty.add(low >> _DIRTY_SHIFT, (high + 4095) >> _DIRTY_SHIFT)
            self.store.resize(size)
            self.size = size
            if self._write_through:
                self._settle_all()
        self._tell_size()

    def snapshot(self, name: str) -> None:
        """Save the present contents as snapshot ``name``, and make a checkpoint of dirty tracking.

        All pending changes become durable first, so that a snapshot never contains changes that a
        power cut undoes.

        :raise VolumeExists: a snapshot has that name.
        """
        with self._lock:
            self.store.sync()
            if self._cache is not None:
                self._cache.clear()
            self.store.snapshot(name)
            self._dirty = RangeSet()

    def power_cut(self, seed: int) -> None:
        """Undo any legal subset of the pending changes, torn at sectors, like a power cut.

        The same history and the same seed give the same bytes. The size may change back.
        """
        import random

        with self._lock:
            if self._cache is not None:
                self._cache.power_cut(self._powered, random.Random(seed))
                self._powered.sync()
            changed = self.size != self._powered.size
            self.size = self._powered.size
        if changed:
            self._tell_size()

    def power_off(self) -> None:
        """Stop serving: until :meth:`power_on` every request raises ConnectionAbortedError.

        The server ends a connection on this error without a reply. So no request of a client that
        is still connected is executed after the power cut and acknowledged.
        """
        with self._lock:
            self.store = _Off(self._powered.size)

    def power_on(self) -> None:
        """Serve again."""
        with self._lock:
            self.store = self._powered

    def allocated(self) -> int:
        """Return how many bytes the store holds, in whole blocks."""
        with self._lock:
            return self._powered.allocated()

    def set_write_through(self, on: bool) -> None:
        """Make each change durable before it is acknowledged, or stop that.

        :raise BlockError: EIO if switched on, and the pending changes cannot be made durable.
        """
        with self._lock:
            if on:
                self._settle_all()
            self._write_through = on

    def pending(self) -> int:
        """Return how many acknowledged operations a power cut may still lose."""
        return len(self._cache) if self._cache is not None else 0

    @contextmanager
    def quiesced(self) -> Iterator[Store]:
        """Block all requests, make everything durable, and yield the store."""
        with self._lock:
            self.store.sync()
            if self._cache is not None:
                self._cache.clear()
            yield self.store

    def close(self) -> None:
        """Make everything durable and release the store. Closing twice is harmless."""
        with self._lock:
            if not self.read_only:
                self._powered.sync()
            self._powered.close()

    def _tell_size(self) -> None:
        for callback in list(self.on_resize):
            callback(self.size)

    def _check_change(self, what: str, offset: int, length: int, error: int) -> None:
        if self.read_only or offset < 0 or length < 0 or offset + length > self.size:
            raise self._refusal(what, offset, length, error)

    def _refusal(self, what: str, offset: int, length: int, error: int) -> BlockError:
        if self.read_only:
            return BlockError(errno.EPERM, f"{what}: volume {self.name!r} is read-only")
        return _outside(error, what, offset, length, self.size)

    def _old_pieces(self, start: int, end: int) -> list[tuple[int, bytes]] | None:
        """Return the old contents without holes; None if too large (then all becomes durable)."""
        assert self._cache is not None
        pieces = []
        room = self._cache.limit
        for first, after in self.store.data(start, end):
            room -= after - first + SECTOR_BYTES
            if room < 0:
                self._settle_all()
                return None
            pieces.append((first, self.store.read(first, after - first)))
        return pieces

    def _settle_all(self) -> None:
        self.store.sync()
        if self._cache is not None:
            self._cache.clear()

    def _make_durable(self, start: int, end: int) -> None:
        self.store.sync()
        if self._cache is not None:
            self._cache.record_barrier(start, end)


class _Off:
    """The store of a volume without power."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __getattr__(self, name: str) -> Never:
        msg = "the volume has no power"
        raise ConnectionAbortedError(msg)


def _outside(error: int, what: str, offset: int, length: int, size: int) -> BlockError:
    if offset < 0 or length < 0:
        error = errno.EINVAL
    end = offset + length
    return BlockError(error, f"{what} of [{offset}, {end}) is outside of the volume's {size} bytes")
