"""The header that fio writes into each block that it verifies (``verify_header`` of verify.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from functools import cache

MAGIC = 0xACCA
_HEADER = struct.Struct("<HHIQQIIHHI")
"""Up to fio 3.40: magic, kind of verification, length, seed, offset, seconds, nanoseconds, thread,
number of the request, checksum of the header."""
_VERSIONED = struct.Struct("<HBBIQQIIQHxxI")
"""Since fio 3.41: magic, version, kind of verification, length, seed, offset, seconds, nanoseconds,
number of the request, thread, checksum of the header."""
_FIRST_VERSION = 0x81
"""Of a header with a version. The byte at its place was less than that before."""
_LONGEST = 64 << 20
_CASTAGNOLI = 0x82F63B78


@dataclass(frozen=True)
class FioBlock:
    """A block of fio: the file's ``offset`` and ``length`` in bytes that it was written for.

    ``number`` counts the writes of its job, ``thread`` is the number of the job.
    """

    offset: int
    length: int
    number: int
    thread: int

    def __str__(self) -> str:
        return (
            f"a block of fio for offset {self.offset}, {self.length} bytes, write"
            f" {self.number} of job {self.thread}"
        )


def block_of(data: bytes) -> FioBlock | None:
    """Return the block that data begins with; None if it is not of fio."""
    form = _form_of(data)
    if len(data) < form.size:
        return None
    if form is _VERSIONED:
        magic, _, _, length, _, offset, _, _, number, thread, _ = form.unpack_from(data)
    else:
        magic, _, length, _, offset, _, _, thread, number, _ = form.unpack_from(data)
    if magic != MAGIC or not 0 < length <= _LONGEST:
        return None
    return FioBlock(offset, length, number, thread)


def header_of(data: bytes) -> bytes:
    """Return the header that data begins with; empty if its magic or its checksum is wrong."""
    header = data[: _form_of(data).size]
    return header if block_of(header) is not None and _is_sound(header) else b""


def repaired(data: bytes) -> bytes:
    """Return a block of fio with the one bit of its header flipped back that makes it right.

    :return: empty if no bit does that. CRC-32C finds every single bit of so short a header.
    """
    for form in (_HEADER, _VERSIONED):
        for bit in range(form.size * 8):
            header = bytearray(data[: form.size])
            if len(header) < form.size:
                return b""
            header[bit // 8] ^= 1 << bit % 8
            if _form_of(header) is form and header_of(bytes(header)):
                return bytes(header) + data[form.size :]
    return b""


def _form_of(data: bytes | bytearray) -> struct.Struct:
    return _VERSIONED if len(data) > 2 and data[2] >= _FIRST_VERSION else _HEADER


def _is_sound(header: bytes) -> bool:
    return crc32c(header[:-4]) == int.from_bytes(header[-4:], "little")


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of data as fio computes it: without the inversion at the end."""
    found = 0xFFFFFFFF
    for byte in data:
        found = _table()[(found ^ byte) & 0xFF] ^ (found >> 8)
    return found


@cache
def _table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        one = byte
        for _ in range(8):
            one = one >> 1 ^ (_CASTAGNOLI if one & 1 else 0)
        table.append(one)
    return tuple(table)
