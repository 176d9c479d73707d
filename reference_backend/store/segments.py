"""The bytes of a volume in a directory: sparse segment files, created by the first write.

    volume.json             size, snapshots, uuid; replaced atomically (store/metadata.py)
    lock                    flock(2) of the process that has the volume open
    data/000000 ...         segment number, hexadecimal; 1 TiB each, holes where nothing was written
    snapshots/1/000000 ...  a snapshot's copies of the segments

After a crash, the metadata show what was incomplete: a snapshot's directory that they do not name
is removed, and a segment beyond the size, or longer than it should be, is removed or cut. Both
happen at the next open, before anything is served.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO, Extent, merged
from reference_backend.store.metadata import sync_directory
from reference_backend.store.sparse_file import (
    BLOCK_BYTES,
    SparseFile,
    block_error,
    copy_data,
)

OPEN_FILES_MAX = 64
"""Most segment files of a volume open at once; the oldest one is closed first."""
_NAME_DIGITS = 6


class Segments:
    """The segment files of one directory, as one range of bytes.

    :param directory: the directory of the files; created by the first write.
    :param size: the size of the whole range, in bytes.
    :param read_only: open files for reading only.
    """

    def __init__(
        self, directory: Path, size: int, segment_bytes: int, *, read_only: bool = False
    ) -> None:
        self.size = size
        self.directory = directory
        self._bytes = segment_bytes
        self._flags = os.O_CLOEXEC | (os.O_RDONLY if read_only else os.O_RDWR)
        self._files: dict[int, SparseFile] = {}
        self._present = {int(path.name, 16) for path in segment_paths(directory)}
        self._dirty: set[int] = set()
        self._new_entries = False
        self._sync_lock = threading.Lock()
        self._sync_failed = False

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        index, at = divmod(offset, self._bytes)
        if at + length > self._bytes:
            parts = [self.read(start, part) for start, part in self._split(offset, length)]
            return b"".join(parts)
        file = self._files.get(index)
        if file is None:
            if index not in self._present:
                return bytes(length)
            file = self._file(index)
        return file.read(at, length)

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes."""
        index, at = divmod(offset, self._bytes)
        if at + len(data) > self._bytes:
            view = memoryview(data)
            for start, part in self._split(offset, len(data)):
                self.write(start, view[start - offset : start - offset + part])
            return
        (self._files.get(index) or self._file(index)).write(at, data)
        self._dirty.add(index)

    def _split(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield a range as (offset, length) of each segment."""
        end = offset + length
        while offset < end:
            part = min(self._bytes - offset % self._bytes, end - offset)
            yield offset, part
            offset += part

    def _parts(self, offset: int, end: int) -> Iterator[tuple[int, int, int]]:
        """Yield (index, start, stop) of the segments that exist in ``[offset, end)``."""
        if offset >= end:
            return
        first, last = offset // self._bytes, (end - 1) // self._bytes
        numbers: Sequence[int] = range(first, last + 1)
        if last - first > len(self._present):
            numbers = sorted(self._present)
        for index in numbers:
            if first <= index <= last and index in self._present:
                base = index * self._bytes
                yield index, max(offset - base, 0), min(end - base, self._bytes)

    def zero(self, offset: int, length: int, allocate: bool) -> None:
        """Zero a range; a hole that reaches the end takes the last block whole."""
        end = offset + length
        if allocate:
            for start, part in self._split(offset, length):
                self._zero_in(start // self._bytes, start % self._bytes, part, True)
            return
        if end == self.size:
            end = (end + BLOCK_BYTES - 1) & -BLOCK_BYTES
        for index, start, stop in self._parts(offset, end):
            self._zero_in(index, start, stop - start, False)

    def _zero_in(self, index: int, at: int, length: int, allocate: bool) -> None:
        (self._files.get(index) or self._file(index)).zero(at, length, allocate)
        self._dirty.add(index)

    def is_zero_fast(self, offset: int, length: int, allocate: bool) -> bool:  # noqa: ARG002
        """Return whether fallocate(2) does the zeroing."""
        if not allocate and not self._present:
            return True
        index = offset // self._bytes
        if index not in self._present:
            index = next(iter(self._present), index)
        return (self._files.get(index) or self._file(index)).is_zero_fast(allocate)

    def status(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield the extents of a range."""
        return merged(self._extents(offset, offset + length))

    def _extents(self, offset: int, end: int) -> Iterator[Extent]:
        for index, start, stop in self._parts(offset, end):
            base = index * self._bytes
            yield Extent(base + start - offset, STATE_HOLE | STATE_ZERO)
            yield from (self._files.get(index) or self._file(index)).status(start, stop)
            offset = base + stop
        yield Extent(end - offset, STATE_HOLE | STATE_ZERO)

    def data(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts that may contain bytes other than zero."""
        for index, start, stop in self._parts(offset, end):
            base = index * self._bytes
            for first, after in (self._files.get(index) or self._file(index)).data(start, stop):
                yield base + first, base + after

    def _file(self, index: int) -> SparseFile:
        """Return an open segment; create it with its full length if it does not exist."""
        with contextlib.suppress(KeyError):
            return self._files[index]
        if len(self._files) >= OPEN_FILES_MAX:
            self._close_one()
        path = self.directory / f"{index:0{_NAME_DIGITS}x}"
        new = index not in self._present
        try:
            if new:
                self.directory.mkdir(mode=0o700, exist_ok=True)
            descriptor = os.open(path, self._flags | (os.O_CREAT if new else 0), 0o600)
        except OSError as error:
            raise block_error(error, str(path)) from error
        file = SparseFile(path, descriptor)
        if new:
            file.truncate(self._length_of(index))
            self._present.add(index)
            self._new_entries = True
        self._files[index] = file
        return file

    def _close_one(self) -> None:
        """Close the file that was opened first; the next flush still includes its contents."""
        with self._sync_lock:
            index = next(iter(self._files))
            file = self._files.pop(index)
            if index in self._dirty:
                self._sync_file(file)
                self._dirty.discard(index)
            file.close()

    def _length_of(self, index: int) -> int:
        return max(0, min(self._bytes, self.size - index * self._bytes))

    def resize(self, size: int) -> None:
        """Cut or extend the files; the caller has made the new size durable before a shrink."""
        self.size = size
        self.fit()

    def fit(self) -> None:
        """Set the lengths of the files according to the size; remove files beyond it.

        :raise BlockError: ENOSPC, EIO.
        """
        for index in sorted(self._present, reverse=True):
            wanted = self._length_of(index)
            if wanted == 0:
                self._remove(index)
                continue
            file = self._files.get(index) or self._file(index)
            if file.length() != wanted:
                file.truncate(wanted)
                self._dirty.add(index)

    def _remove(self, index: int) -> None:
        with self._sync_lock:
            file = self._files.pop(index, None)
            if file is not None:
                file.close()
            (self.directory / f"{index:0{_NAME_DIGITS}x}").unlink(missing_ok=True)
            self._present.discard(index)
            self._dirty.discard(index)
            self._new_entries = True

    def sync(self) -> None:
        """Make everything durable that was written before this call. Writes may run in parallel.

        After one failure, every later call fails. The kernel drops dirty pages that it could not
        write, so the next fdatasync(2) would succeed although data is lost.

        :raise BlockError: ENOSPC, EIO.
        """
        with self._sync_lock:
            if self._sync_failed:
                raise BlockError(errno.EIO, f"{self.directory}: an earlier flush failed")
            if self._new_entries:
                self._new_entries = False
                self._sync_entries()
            for index in list(self._dirty):
                self._dirty.discard(
                    index
                )  # before the sync: the next one includes writes during it
                file = self._files.get(index)
                if file is not None:
                    self._sync_file(file)

    def _sync_entries(self) -> None:
        try:
            sync_directory(self.directory)
            sync_directory(self.directory.parent)
        except OSError as error:
            self._sync_failed = True
            raise block_error(error, f"{self.directory}: flush") from error

    def _sync_file(self, file: SparseFile) -> None:
        try:
            file.sync()
        except OSError as error:
            self._sync_failed = True
            raise block_error(error, f"{file.path}: flush") from error

    def copy_to(self, directory: Path) -> None:
        """Copy all segments into a new directory, durably.

        :raise BlockError: ENOSPC, EIO; the directory is left incomplete.
        """
        copy = Segments(directory, self.size, self._bytes)
        try:
            for index in sorted(self._present):
                copy_data(self._files.get(index) or self._file(index), copy._file(index))
                copy._dirty.add(index)
            copy.sync()
        finally:
            copy.close()

    def allocated(self) -> int:
        """Return the bytes of disk space that all files use."""
        return sum(path.stat().st_blocks * 512 for path in segment_paths(self.directory))

    def close(self) -> None:
        """Close all files."""
        with self._sync_lock:
            while self._files:
                self._files.popitem()[1].close()


def segment_paths(directory: Path) -> list[Path]:
    """Return the segment files of a directory; none where the directory is missing."""
    if not directory.is_dir():
        return []
    return [
        path
        for path in directory.iterdir()
        if len(path.name) >= _NAME_DIGITS and set(path.name) <= set("0123456789abcdef")
    ]
