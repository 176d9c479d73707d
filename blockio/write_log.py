"""The log of a volume's writes, in the format of Linux's dm-log-writes and QEMU's blklogwrites.

All numbers are little-endian. Sector 0 of the log: u64 magic 0x6a736677736872, u64 version 1, u64
number of entries, u32 sector size. Then each entry: one sector that begins with u64 sector, u64
number of sectors, u64 flags, u64 length of the mark; and after it the data, unless the entry is a
discard (Linux, Documentation/admin-guide/device-mapper/log-writes.rst; QEMU, block/blklogwrites.c).
A mark has its text in the entry's own sector, behind the four numbers.
"""

from __future__ import annotations

import ctypes
import enum
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

MAGIC = 0x6A736677736872
VERSION = 1
SECTOR = 512
_SUPER = struct.Struct("<QQQL")
_ENTRY = struct.Struct("<QQQQ")
_COUNT = struct.Struct("<Q")
_COUNT_AT = 16
_FREE = 16 << 20
_PUNCH_HOLE = 3
"""FALLOC_FL_KEEP_SIZE and FALLOC_FL_PUNCH_HOLE of linux/falloc.h."""
_fallocate = ctypes.CDLL(None).fallocate
_fallocate.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int64, ctypes.c_int64]
_SECTOR_SIZES = tuple(1 << bits for bits in range(9, 17))


class LogFlag(enum.IntFlag):
    """Flags of an entry; without flags it is a plain write."""

    FLUSH = 1
    FUA = 2
    DISCARD = 4
    MARK = 8
    METADATA = 16
    """File system metadata: set by Linux since 4.20, not by QEMU."""


_KNOWN_FLAGS = sum(LogFlag)


class WriteLogError(ValueError):
    """The file is not a valid log; the message says where, and how to fix it."""


class Entry(NamedTuple):
    """One request. ``offset`` and ``length`` are in bytes, multiples of the log's sector size.

    ``data`` has ``length`` bytes, or none for a discard. For a mark, it is the text.
    """

    flags: LogFlag
    offset: int = 0
    length: int = 0
    data: bytes | memoryview = b""


def read_log(path: Path) -> list[Entry]:
    """Return the entries of a log. Their data are views of the mapped file, not copies.

    :raise WriteLogError: the file is not a log, or it is damaged; names file and entry.
    """
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < SECTOR:
            raise WriteLogError(f"{path}: {size} bytes are no write log; its first sector is 512")
        view = memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
    magic, version, count, sector_size = _SUPER.unpack_from(view)
    if magic != MAGIC:
        raise WriteLogError(f"{path}: no write log: it begins with {magic:#x}, not {MAGIC:#x}")
    if version != VERSION or sector_size not in _SECTOR_SIZES:
        raise WriteLogError(
            f"{path}: version {version} with sectors of {sector_size} bytes;"
            f" known are version {VERSION} and 512 to 65536"
        )
    return list(_entries(view, path, count, sector_size))


def _entries(view: memoryview, path: Path, count: int, sector_size: int) -> Iterator[Entry]:
    at = sector_size
    for number in range(count):
        if at + _ENTRY.size > len(view):
            raise WriteLogError(
                f"{path}: it ends before entry {number} of {count}; was its writer killed? Log"
                " with log-super-update-interval=1, so that the count is never ahead"
            )
        sector, sectors, bits, mark_length = _ENTRY.unpack_from(view, at)
        if bits & ~_KNOWN_FLAGS:
            raise WriteLogError(f"{path}: entry {number} has unknown flags {bits:#x}; damaged?")
        flags = LogFlag(bits)
        body = at + sector_size
        if flags & LogFlag.MARK:
            text = view[at + _ENTRY.size : min(at + _ENTRY.size + mark_length, body)]
            yield Entry(flags, data=bytes(text))
            at = body
            continue
        length = sectors * sector_size
        stored = 0 if flags & LogFlag.DISCARD else length
        if body + stored > len(view):
            raise WriteLogError(f"{path}: entry {number} of {count} goes beyond the end")
        yield Entry(flags, sector * sector_size, length, view[body : body + stored])
        at = body + stored


def entries_in(path: Path) -> int:
    """Return the number of entries of a log that is being written, from its first sector.

    With ``log-super-update-interval=1`` it includes every request that has been answered.
    """
    with path.open("rb") as file:
        file.seek(_COUNT_AT)
        head = file.read(_COUNT.size)
    return int(_COUNT.unpack(head)[0]) if len(head) == _COUNT.size else 0


class LogFollower:
    """Reads a log while it is written, and gives the space of what was read back.

    :param path: an existing log, whose writer counts each entry after its data.
    :raise OSError: the file cannot be opened for reading and writing.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.open("r+b", buffering=0)
        self._at = 0
        self._sector_size = 0
        self._read = 0
        self._freed = 0

    def new_entries(self) -> Iterator[Entry]:
        """Yield the entries since the last call.

        :raise WriteLogError: the file is not a log, or it is damaged.
        """
        count = entries_in(self._path)
        if not self._at and count:
            head = os.pread(self._file.fileno(), SECTOR, 0)
            magic, _, _, self._sector_size = _SUPER.unpack_from(head)
            if magic != MAGIC or self._sector_size not in _SECTOR_SIZES:
                raise WriteLogError(f"{self._path}: no write log: it begins with {magic:#x}")
            self._at = self._freed = self._sector_size
        while self._read < count:
            yield self._next()
            self._read += 1
            if self._at - self._freed >= _FREE:
                self._free()

    def _next(self) -> Entry:
        head = os.pread(self._file.fileno(), self._sector_size, self._at)
        sector, sectors, bits, mark_length = _ENTRY.unpack_from(head)
        if bits & ~_KNOWN_FLAGS:
            where = f"{self._path}: entry {self._read}"
            raise WriteLogError(f"{where} has unknown flags {bits:#x}; damaged?")
        flags = LogFlag(bits)
        self._at += self._sector_size
        if flags & LogFlag.MARK:
            return Entry(flags, data=head[_ENTRY.size : _ENTRY.size + mark_length])
        length = sectors * self._sector_size
        if flags & LogFlag.DISCARD:
            return Entry(flags, sector * self._sector_size, length)
        data = os.pread(self._file.fileno(), length, self._at)
        if len(data) != length:
            raise WriteLogError(f"{self._path}: entry {self._read} goes beyond the end")
        self._at += length
        return Entry(flags, sector * self._sector_size, length, data)

    def _free(self) -> None:
        """Punch a hole; a file system without holes keeps the data."""
        _fallocate(self._file.fileno(), _PUNCH_HOLE, self._freed, self._at - self._freed)
        self._freed = self._at

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class LogWriter:
    """Writes a log; after each entry the file is a valid log.

    :param path: the file; it is overwritten.
    :raise OSError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb", buffering=0)
        self._file.write(_SUPER.pack(MAGIC, VERSION, 0, SECTOR).ljust(SECTOR, b"\0"))
        self.count = 0

    def append(self, entry: Entry) -> None:
        """Add an entry.

        :raise ValueError: offset or length is not a multiple of 512, or the data is not ``length``
            bytes long.
        """
        flags, offset, length, data = entry
        is_mark, is_discard = flags & LogFlag.MARK, flags & LogFlag.DISCARD
        if offset % SECTOR or length % SECTOR:
            raise ValueError(f"{offset}+{length} is not in whole sectors of {SECTOR} bytes")
        if is_mark and len(data) > SECTOR - _ENTRY.size:
            raise ValueError(f"a mark of {len(data)} bytes; at most {SECTOR - _ENTRY.size}")
        if not is_mark and len(data) != (0 if is_discard else length):
            raise ValueError(f"{len(data)} bytes of data for an entry of {length}")
        mark_length = len(data) if is_mark else 0
        head = _ENTRY.pack(offset // SECTOR, length // SECTOR, int(flags), mark_length)
        if is_mark:
            self._file.write((head + bytes(data)).ljust(SECTOR, b"\0"))
        else:
            self._file.write(b"".join((head.ljust(SECTOR, b"\0"), data)))
        self.count += 1
        end = self._file.tell()
        self._file.seek(_COUNT_AT)
        self._file.write(_COUNT.pack(self.count))
        self._file.seek(end)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def write_log(path: Path, entries: Iterable[Entry]) -> None:
    """Write a whole log."""
    writer = LogWriter(path)
    try:
        for entry in entries:
            writer.append(entry)
    finally:
        writer.close()
