"""Sides of a dual write without a socket: a local file, and a long-lived qemu-io."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path

from blockio.errors import BlockError
from blockio.extents import Extent
from oracles.sides import Payload
from qbdcheck.programs.qemu_io import IoFailed, QemuIo

_ZEROES = bytes(1 << 20)
_ERRNOS = {os.strerror(number): number for number in errno.errorcode}


class RawFile:
    """A sparse local file, read and written by system calls: the simplest reference.

    A request beyond the end fails with EINVAL or ENOSPC, as on an NBD server. Discards write
    zeroes. Block status reports only data.

    :raise OSError: the file cannot be created.
    """

    def __init__(self, path: Path, size: int) -> None:
        self.path = path
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        self.size = 0
        self.resize(size)

    def close(self) -> None:
        """Close and remove the file."""
        os.close(self._descriptor)
        self.path.unlink(missing_ok=True)

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes."""
        self._within(offset, length, errno.EINVAL)
        return os.pread(self._descriptor, length, offset)

    def write(self, offset: int, data: Payload, /, fua: bool = False) -> None:
        """Write bytes; the file is removed with the case, so nothing needs to be durable."""
        del fua
        self._within(offset, len(data), errno.ENOSPC)
        self._put(offset, data)

    def write_zeroes(
        self,
        offset: int,
        length: int,
        /,
        no_hole: bool = False,
        fast_zero: bool = False,
        fua: bool = False,
    ) -> None:
        """Write zeroes."""
        del no_hole, fast_zero, fua
        self._within(offset, length, errno.ENOSPC)
        for start in range(offset, offset + length, len(_ZEROES)):
            self._put(start, _ZEROES[: offset + length - start])

    def discard(self, offset: int, length: int, /) -> None:
        """Write zeroes."""
        self._within(offset, length, errno.EINVAL)
        self.write_zeroes(offset, length)

    def flush(self) -> None:
        """Do nothing: see `write`."""

    def block_status(self, offset: int, length: int, /) -> Sequence[Extent]:
        """Return one extent of data."""
        self._within(offset, length, errno.EINVAL)
        return [Extent(length, 0)]

    def resize(self, size: int, /) -> None:
        """Set the size in bytes."""
        os.ftruncate(self._descriptor, size)
        self.size = size

    def _within(self, offset: int, length: int, error: int) -> None:
        if offset + length > self.size:
            raise BlockError(error)

    def _put(self, offset: int, data: Payload) -> None:
        if os.pwrite(self._descriptor, data, offset) != len(data):
            raise BlockError(errno.ENOSPC, f"{self.path} was not written completely")


class ThroughQemuIo:
    """A disk as qemu-io reaches it: any driver and format of QEMU, one request at a time.

    :param io: open on the disk, without a shadow. :param directory: where it was started.
    :param size: of the disk, in bytes.
    """

    def __init__(self, io: QemuIo, directory: Path, size: int) -> None:
        self._io = io
        self._data = directory / f"{io.pid}.payload"
        self.size = size

    def read(self, offset: int, length: int, /) -> bytes:
        """Return bytes."""
        return self._request(f"read -v {offset} {length}")

    def write(self, offset: int, data: Payload, /, fua: bool = False) -> None:
        """Write bytes."""
        self._data.write_bytes(data)
        self._request(f"write{' -f' * fua} -s {self._data.name} {offset} {len(data)}")

    def write_zeroes(
        self,
        offset: int,
        length: int,
        /,
        no_hole: bool = False,
        fast_zero: bool = False,
        fua: bool = False,
    ) -> None:
        """Write zeroes; where holes are allowed, with -u (BDRV_REQ_MAY_UNMAP)."""
        flags = "z" + "u" * (not no_hole) + "n" * fast_zero + "f" * fua
        self._request(f"write -{flags} {offset} {length}")

    def discard(self, offset: int, length: int, /) -> None:
        """Discard."""
        self._request(f"discard {offset} {length}")

    def flush(self) -> None:
        """Flush; qemu-io reports a failure only at its exit."""
        self._io.flush()

    def block_status(self, offset: int, length: int, /) -> Sequence[Extent]:
        """Return one extent of data: qemu-io's map shows allocation, not zeroes."""
        del offset
        return [Extent(length, 0)]

    def resize(self, size: int, /) -> None:
        """Set the size in bytes by ``truncate``."""
        output = self._io(f"truncate {size}")
        if output.strip():
            raise BlockError(errno.EIO, output.strip())
        self.size = size

    def _request(self, command: str) -> bytes:
        try:
            return self._io.request(command).data
        except IoFailed as error:
            raise BlockError(_ERRNOS.get(error.reason, errno.EIO), error.reason) from None
