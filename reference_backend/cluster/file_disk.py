"""The disk of a node as a file."""

from __future__ import annotations

import fcntl
import os
import uuid
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MODE = 0o600


class FileDisk:
    """A sparse file. The id of the machine's boot tells whether the page cache may be lost.

    :raise OSError: the file cannot be opened, or another node uses it.
    """

    def __init__(self, path: Path) -> None:
        self.boot = uuid.UUID(_BOOT_ID.read_text(encoding="ascii").strip()).bytes
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _MODE)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._file)
            raise OSError(error.errno, "another node uses this store", str(path)) from None

    def read(self, offset: int, length: int) -> bytes:
        """Return the bytes of a range."""
        return os.pread(self._file, length, offset).ljust(length, b"\0")

    def write(self, offset: int, data: bytes) -> None:
        """Write bytes."""
        view = memoryview(data)
        while view:
            count = os.pwrite(self._file, view, offset)
            offset, view = offset + count, view[count:]

    def sync(self) -> None:
        """Make all writes durable."""
        os.fdatasync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)
