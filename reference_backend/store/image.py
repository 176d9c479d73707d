"""One raw file or block device as a volume, like ``qemu-nbd -f raw``.

It makes the same system calls as QEMU's file driver, so that the file ends up equal. The size is
the exact size of the file. There are no snapshots, because a raw file cannot store them.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

from blockio.errors import BlockError, VolumeInUse
from blockio.extents import Extent
from reference_backend.store.sparse_file import SparseFile, block_error, refuse


class ImageStore:
    """A raw file. Not thread-safe, except :meth:`sync`.

    :raise VolumeInUse: another server has it open.
    :raise OSError: it cannot be opened.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        flags = os.O_CLOEXEC | (os.O_RDONLY if read_only else os.O_RDWR)
        try:
            descriptor = os.open(path, flags)
        except OSError as error:
            refuse(error, path)
        self._file = SparseFile(path, descriptor)
        try:
            self.size = self._file.length()
            locked = self._file.lock(exclusive=not read_only)
        except OSError as error:
            self._file.close()
            refuse(error, path)
        if not locked:
            self._file.close()
            msg = f"{path} is in use by another server"
            raise VolumeInUse(msg)
        self._sync_failed = False
        self.read = self._file.read
        self.write = self._file.write
        self.zero = self._file.zero

    def is_zero_fast(self, offset: int, length: int, allocate: bool) -> bool:  # noqa: ARG002
        """Return whether fallocate(2) does the zeroing."""
        return self._file.is_zero_fast(allocate)

    def status(self, offset: int, length: int) -> Iterator[Extent]:
        """Yield the extents of the range."""
        return self._file.status(offset, offset + length)

    def data(self, offset: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts that may contain bytes other than zero."""
        return self._file.data(offset, end)

    def resize(self, size: int) -> None:
        """Truncate or extend the file, in bytes."""
        self._file.truncate(size)
        self.size = size

    def sync(self) -> None:
        """Make everything durable. After one failure, every later call fails.

        The kernel drops dirty pages that it could not write, so a second fdatasync(2) would succeed
        although data is lost.
        """
        if self._sync_failed:
            raise BlockError(errno.EIO, f"{self._file.path}: an earlier flush failed")
        try:
            self._file.sync()
        except OSError as error:
            self._sync_failed = True
            raise block_error(error, f"{self._file.path}: flush") from error

    def snapshot(self, name: str) -> NoReturn:
        """Refuse: a raw file cannot store snapshots."""
        raise BlockError(errno.ENOTSUP, f"{self._file.path}: an image has no snapshots ({name!r})")

    def allocated(self) -> int:
        """Return how many bytes of disk the file takes."""
        return self._file.allocated()

    def close(self) -> None:
        """Close the file, which gives the lock back."""
        self._file.close()
