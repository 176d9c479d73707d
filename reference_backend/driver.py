"""QbdDriver: the callbacks of a QEMU block driver for this backend.

They are the table of the talk "QEMU Backend Block Device Driver In Practice" (``BlockDriver
bdrv_qbd``); block/rbd.c in QEMU is a real example. This class is the contract for authors of
drivers, and model tests call it in process. Lengths are in bytes, sectors have 512 bytes, results
are 0 or a negative errno.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, NoReturn

from blockio.errors import BlockError
from reference_backend.pool import Pool
from reference_backend.store.volume import Volume

SECTOR_BYTES = 512
LOGICAL_MAX = 4096
_KEYS = ("logical_block_size", "physical_block_size", "read-only")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)

Completion = Callable[[int], None]
Options = dict[str, Any]


class BlockSizes(NamedTuple):
    """Block sizes for the guest, in bytes (QEMU: struct BlockSizes)."""

    physical: int
    logical: int


class QbdDriver:
    """One open ``qbd:`` volume, like a BlockDriverState in QEMU.

    :param pool: the pool of the volumes.
    """

    format_name = "qbd"
    protocol_name = "qbd"
    needs_filename = True

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._volume: Volume | None = None
        self._options: Options = {}
        self._worker: ThreadPoolExecutor | None = None

    @staticmethod
    def parse_filename(filename: str) -> Options:
        r"""Turn ``qbd:pool/volume[@snapshot][:key=value...]`` into options.

        A backslash makes the next character literal (``\:``, ``\@``). The keys are
        logical_block_size, physical_block_size (bytes) and read-only (on, off).

        :raise ValueError: the name is wrong; the message is what QEMU would print.
        """
        if not filename.startswith("qbd:"):
            _refuse("File name must start with 'qbd:'")
        name, *pairs = _split(filename[4:], ":")
        volume, *snapshot = _split(name, "@", 1)
        pool, *rest = _split(volume, "/", 1)
        if not pool or not rest:
            _refuse("Pool name is required")
        if not rest[0]:
            _refuse("Volume name is required")
        if snapshot == [""]:
            _refuse("Snapshot name is required")
        options: Options = {"volume": _unescaped(volume)}
        if snapshot:
            options["snapshot"] = _unescaped(snapshot[0])
        options.update(map(_option, pairs))
        return options

    def create(self, options: Options, size: int) -> int:
        """Create the volume of ``size`` bytes (``bdrv_create``)."""
        try:
            self._pool.create(options["volume"], size)
        except BlockError as error:
            return -error.errno
        return 0

    def file_open(self, options: Options, read_only: bool = False) -> None:
        """Open the volume (``bdrv_file_open``); a snapshot is always read-only.

        :raise VolumeNotFound: no volume has that name.
        """
        name = options["volume"]
        if "snapshot" in options:
            name = f"{name}@{options['snapshot']}"
        self._volume = self._pool.open(name)
        self._options = {**options, "read-only": read_only or options.get("read-only", False)}
        self._worker = ThreadPoolExecutor(1, "qbd-aio")

    def close(self) -> None:
        """Wait for requests in flight and release the volume (``bdrv_close``)."""
        if self._worker is not None:
            self._worker.shutdown()
        self._volume = self._worker = None

    def getlength(self) -> int:
        """Return the current size in bytes (``bdrv_getlength``)."""
        return self._opened().size

    def aio_readv(
        self, sector: int, iov: Sequence[bytearray | memoryview], done: Completion
    ) -> Future[int]:
        """Read sectors into buffers, one after the other; ``done(result)`` from another thread."""
        volume = self._opened()

        def read() -> None:
            data = memoryview(volume.read(sector * SECTOR_BYTES, sum(map(len, iov))))
            at = 0
            for buffer in iov:
                buffer[:] = data[at : at + len(buffer)]
                at += len(buffer)

        return self._submit(read, done)

    def aio_writev(
        self,
        sector: int,
        iov: Sequence[bytes | bytearray | memoryview],
        done: Completion,
        fua: bool = False,
    ) -> Future[int]:
        """Write buffers, one after the other, from a sector on; one atomic request."""
        volume = self._opened()
        read_only = self._options["read-only"]

        def write() -> None:
            if read_only:
                raise BlockError(errno.EPERM, "the volume was opened read-only")
            volume.write(sector * SECTOR_BYTES, b"".join(iov), fua)

        return self._submit(write, done)

    def flush(self, done: Completion) -> Future[int]:
        """Make all completed writes durable (``bdrv_co_flush_to_disk``)."""
        return self._submit(self._opened().flush, done)

    def probe_blocksizes(self) -> BlockSizes:
        """Return the block sizes for the guest's disk (``bdrv_probe_blocksizes``).

        The logical size is the minimum request, at least a sector; the physical size the preferred.
        """
        minimum, preferred, _ = self._opened().block_sizes
        logical = self._options.get("logical_block_size", max(SECTOR_BYTES, minimum))
        physical = self._options.get("physical_block_size", max(preferred, logical))
        return BlockSizes(physical, min(logical, LOGICAL_MAX))

    def _opened(self) -> Volume:
        if self._volume is None:
            _refuse("The volume is not open")
        return self._volume

    def _submit(self, work: Callable[[], None], done: Completion) -> Future[int]:
        """Start a request; its callback never runs inside this call (QEMU: BlockAIOCB)."""
        assert self._worker is not None

        def run() -> int:
            try:
                work()
            except BlockError as error:
                result = -error.errno
            else:
                result = 0
            done(result)
            return result

        return self._worker.submit(run)


def _split(text: str, separator: str, most: int = 0) -> list[str]:
    """Split at separators without a preceding backslash; the parts stay escaped."""
    return re.split(rf"(?<!\\){re.escape(separator)}", text, maxsplit=most)


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(r"\1", text)


def _option(pair: str) -> tuple[str, int | bool]:
    key, equals, value = pair.partition("=")
    if not equals:
        _refuse(f"Option '{pair}' needs a value: key=value")
    if key not in _KEYS:
        _refuse(f"Unknown option '{key}', known are {', '.join(_KEYS)}")
    if key == "read-only":
        if value not in {"on", "off"}:
            _refuse(f"Parameter '{key}' expects 'on' or 'off'")
        return key, value == "on"
    if not value.isdecimal() or int(value) < SECTOR_BYTES or int(value) & (int(value) - 1):
        _refuse(f"Parameter '{key}' expects a power of 2, at least {SECTOR_BYTES}")
    return key, int(value)


def _refuse(message: str) -> NoReturn:
    raise ValueError(message)
