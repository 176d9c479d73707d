"""The header that fio writes into each block that it verifies (``verify_header`` of verify.h)."""

from __future__ import annotations

import struct
from dataclasses import dataclass

MAGIC = 0xACCA
_HEADER = struct.Struct("<HHIQQIIHHI")
"""magic, kind of verification, length, seed, offset, seconds, nanoseconds, thread, number of the
request, checksum of the header."""
_LONGEST = 64 << 20


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
    if len(data) < _HEADER.size:
        return None
    magic, _, length, _, offset, _, _, thread, number, _ = _HEADER.unpack_from(data)
    if magic != MAGIC or not 0 < length <= _LONGEST:
        return None
    return FioBlock(offset, length, number, thread)
