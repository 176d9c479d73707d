"""One sparse file: read, write, punch holes, list extents (pread(2), fallocate(2), lseek(2)).

It makes the same system calls as QEMU's file driver for a raw file (block/file-posix.c): discard
and zeroes that may unmap punch holes; zeroes that must stay allocated use FALLOC_FL_ZERO_RANGE;
block status uses SEEK_DATA and SEEK_HOLE. One thing is more exact: lseek reports preallocated
ranges (unwritten extents) as holes. FIEMAP distinguishes them, if the file system has it.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import stat
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from blockio.errors import BlockError
from blockio.extents import Extent
from reference_backend.store.extent_map import extents

BLOCK_BYTES = 4096
PIECE_BYTES = 16384
"""Longest pwrite(2).

Linux makes page cache folios as large as the write that fills them, and ext4 needs 14 us for a
later write of 4 KiB into a folio of 1 MiB, but 2 us into one of 16 KiB (measured on Linux 6.18).
Filling in pieces does not take longer."""
_KEEP_SIZE = 1  # FALLOC_FL_* of linux/falloc.h
_PUNCH_HOLE = 2
_ZERO_RANGE = 16
_FIEMAP = 0xC020660B  # FS_IOC_FIEMAP of linux/fs.h
_FIEMAP_HEAD = struct.Struct("=QQIIII")
_FIEMAP_EXTENT = struct.Struct("=QQQQQIIII")
_FIEMAP_BATCH = 128
_UNWRITTEN = 0x800
_LAST = 1
_ZEROES = bytes(1 << 20)
_NOT_SUPPORTED = {errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.ENODEV}
_NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_libc = ctypes.CDLL(None, use_errno=True)
_fallocate = _libc.fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]


def block_error(error: OSError, what: str) -> BlockError:
    """Return the error for the client: ENOSPC if space or quota ran out, else EIO."""
    number = errno.ENOSPC if error.errno in _NO_SPACE else errno.EIO
    return BlockError(number, f"{what}: {error.strerror}")


class SparseFile:
    """An open regular file or block device. Not thread-safe, except :meth:`sync`.

    :param path: the path for messages.
    :param descriptor: the open descriptor; :meth:`close` closes it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self.descriptor = descriptor
        self._is_device = stat.S_ISBLK(os.fstat(descriptor).st_mode)
        self._zeroing = {False: True, True: True}
        self._probed: set[bool] = set()

    def read(self, offset: int, length: int) -> bytes:
        """Return ``length`` bytes; bytes beyond the end of the file are zeroes.

        :raise BlockError: EIO.
        """
        try:
            data = os.pread(self.descriptor, length, offset)
        except OSError as error:
            raise block_error(error, f"{self.path}: read at {offset}") from error
        return data if len(data) == length else self._read_rest(data, offset, length)

    def _read_rest(self, data: bytes, offset: int, length: int) -> bytes:
        parts = [data]
        done = len(data)
        try:
            while data and done < length:
                data = os.pread(self.descriptor, length - done, offset + done)
                parts.append(data)
                done += len(data)
        except OSError as error:
            raise block_error(error, f"{self.path}: read at {offset}") from error
        return b"".join((*parts, bytes(length - done)))

    def write(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Store bytes.

        :raise BlockError: ENOSPC, EIO; a part of the bytes may be stored.
        """
        try:
            if len(data) > PIECE_BYTES:
                self._write_pieces(offset, memoryview(data))
                return
            done = os.pwrite(self.descriptor, data, offset)
            while done < len(data):
                done += os.pwrite(self.descriptor, memoryview(data)[done:], offset + done)
        except OSError as error:
            raise block_error(error, f"{self.path}: write at {offset}") from error

    def _write_pieces(self, offset: int, data: memoryview) -> None:
        done, end = 0, len(data)
        while done < end:
            part = PIECE_BYTES - (offset + done) % PIECE_BYTES
            done += os.pwrite(self.descriptor, data[done : done + part], offset + done)

    def zero(self, offset: int, length: int, allocate: bool) -> None:
        """Zero a range: punch a hole, or keep it allocated; write zeroes if nothing else works.

        :raise BlockError: ENOSPC, EIO.
        """
        if self._zeroing[allocate]:
            mode = _KEEP_SIZE | (_ZERO_RANGE if allocate else _PUNCH_HOLE)
            try:
                self._allocate(mode, offset, length)
            except OSError as error:
                if error.errno not in _NOT_SUPPORTED:
                    raise block_error(error, f"{self.path}: zero at {offset}") from error
                self._zeroing[allocate] = False
            else:
                return
        for at in range(offset, offset + length, len(_ZEROES)):
            part = min(len(_ZEROES), offset + length - at)
            self.write(at, _ZEROES if part == len(_ZEROES) else _ZEROES[:part])

    def _allocate(self, mode: int, offset: int, length: int) -> None:
        while _fallocate(self.descriptor, mode, offset, length):
            number = ctypes.get_errno()
            if number != errno.EINTR:
                raise OSError(number, os.strerror(number))

    def is_zero_fast(self, allocate: bool) -> bool:
        """Return whether :meth:`zero` needs no writing; probed once, beyond the end of the file."""
        if allocate not in self._probed and not self._is_device:
            self._probed.add(allocate)
            beyond = (os.fstat(self.descriptor).st_size + BLOCK_BYTES) & -BLOCK_BYTES
            mode = _KEEP_SIZE | (_ZERO_RANGE if allocate else _PUNCH_HOLE)
            try:
                self._allocate(mode, beyond, BLOCK_BYTES)
                if allocate:
                    self._allocate(_KEEP_SIZE | _PUNCH_HOLE, beyond, BLOCK_BYTES)
            except OSError:
                self._zeroing[allocate] = False
        return self._zeroing[allocate]

    def data(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of ``[offset, end)`` that may contain bytes other than zero."""
        while offset < end:
            try:
                start = os.lseek(self.descriptor, offset, os.SEEK_DATA)
                stop = os.lseek(self.descriptor, start, os.SEEK_HOLE)
            except OSError as error:
                if error.errno == errno.ENXIO:
                    return
                if error.errno not in _NOT_SUPPORTED:
                    raise block_error(error, f"{self.path}: extents at {offset}") from error
                start, stop = offset, end
            if start >= end:
                return
            yield max(start, offset), min(stop, end)
            offset = stop

    def status(self, offset: int, end: int) -> Iterator[Extent]:
        """Yield the extents of ``[offset, end)`` in order, without gaps, with neighbours joined."""
        return extents(offset, end, self.data, self._preallocated)

    def _preallocated(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the unwritten extents of a hole of lseek (kernel: fiemap.rst)."""
        request = bytearray(_FIEMAP_HEAD.size + _FIEMAP_BATCH * _FIEMAP_EXTENT.size)
        while offset < end:
            _FIEMAP_HEAD.pack_into(request, 0, offset, end - offset, 0, 0, _FIEMAP_BATCH, 0)
            try:
                fcntl.ioctl(self.descriptor, _FIEMAP, request)
            except OSError:
                return  # no FIEMAP (tmpfs): use the result of lseek
            count = _FIEMAP_HEAD.unpack_from(request)[3]
            for number in range(count):
                at = _FIEMAP_HEAD.size + number * _FIEMAP_EXTENT.size
                logical, _, length, _, _, flags, *_ = _FIEMAP_EXTENT.unpack_from(request, at)
                start, stop = max(logical, offset), min(logical + length, end)
                offset = max(offset, stop)
                if flags & _UNWRITTEN and start < stop:
                    yield start, stop
                if flags & _LAST:
                    return
            if count < _FIEMAP_BATCH:
                return

    def truncate(self, size: int) -> None:
        """Set the file's size in bytes; new bytes are zeroes.

        :raise BlockError: ENOSPC (too large for this file system), EIO; ENOTSUP on a block device.
        """
        if self._is_device:
            raise BlockError(errno.ENOTSUP, f"{self.path}: a block device cannot be resized")
        try:
            os.ftruncate(self.descriptor, size)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise BlockError(errno.ENOSPC, f"{self.path}: {size} bytes: too large") from error
            raise block_error(error, f"{self.path}: resize to {size}") from error

    def length(self) -> int:
        """Return the file's own size in bytes."""
        if self._is_device:
            return os.lseek(self.descriptor, 0, os.SEEK_END)
        return os.fstat(self.descriptor).st_size

    def allocated(self) -> int:
        """Return the bytes of disk space that the file uses."""
        return os.fstat(self.descriptor).st_blocks * 512

    def sync(self) -> None:
        """Make the contents durable (fdatasync(2), which includes the size).

        :raise OSError: the medium failed; the kernel has dropped the dirty pages.
        """
        os.fdatasync(self.descriptor)

    def lock(self, exclusive: bool) -> bool:
        """Take an advisory lock (flock(2)) until the process ends; return False if it is taken."""
        mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
        try:
            fcntl.flock(self.descriptor, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        """Close the file; closing twice is harmless."""
        descriptor, self.descriptor = self.descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def copy_data(source: SparseFile, target: SparseFile) -> None:
    """Copy the data extents of a file to an empty one of any size (copy_file_range(2)).

    File systems that share extents (btrfs, XFS) do so.

    :raise BlockError: ENOSPC, EIO.
    """
    try:
        for start, stop in source.data(0, source.length()):
            _copy_range(source.descriptor, target.descriptor, start, stop)
    except OSError as error:
        raise block_error(error, f"{target.path}: copy from {source.path}") from error


def _copy_range(source: int, target: int, start: int, stop: int) -> None:
    while start < stop:
        try:
            done = os.copy_file_range(source, target, stop - start, start, start)
        except OSError as error:
            if error.errno not in _NOT_SUPPORTED | {errno.EXDEV}:
                raise
            done = os.pwrite(target, os.pread(source, min(stop - start, 1 << 20), start), start)
        if done == 0:
            return
        start += done


def refuse(error: OSError, path: Path) -> NoReturn:
    """Raise the OSError again with the path in its message."""
    raise OSError(error.errno, error.strerror, str(path)) from error
