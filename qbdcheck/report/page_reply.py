"""A reply that broke the protocol, as tables: its chunks, and the extents of a block status."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_RECEIVED = re.compile(r"^received, \d+ bytes: ([0-9a-f ]+)$")
_ASKED = re.compile(r"^sent: BLOCK_STATUS, offset (\d+), length \d+", re.MULTILINE)
_CHUNK_LINE = re.compile(
    r"^chunk (?P<number>\d+): (?P<fields>[^;]*(?:;[^;]*){4}?)(?P<wrong>; wrong)?$"
)
"""As `reference_backend.nbd.chunk_log` writes it."""
_CHUNK = struct.Struct(">IHHQI")
"""Header of a structured reply chunk (NBD, "Structured reply chunk message"): magic, flags, type,
cookie, length of the payload."""
_MAGIC = 0x668E33EF
_BLOCK_STATUS = 5
_FLAGS = {1: "hole", 2: "reads as zeroes"}
"""Of the context base:allocation."""


@dataclass(frozen=True)
class Extent:
    """An extent of a reply: its place in it, counted from 1, and what it says."""

    number: int
    offset: int
    length: int
    flags: str

    @property
    def is_empty(self) -> bool:
        """Whether it describes nothing, which the protocol forbids."""
        return not self.length


@dataclass(frozen=True)
class Part:
    """A chunk of a reply, in words; ``-`` for no value. ``number``: empty for data that is missing.

    ``is_wrong``: it broke the protocol.
    """

    number: str
    kind: str
    offset: str
    length: str
    flags: str
    error: str
    is_wrong: bool


def parts_of(wire: Sequence[str]) -> tuple[Part, ...]:
    """Return the chunks of the last reply, from the messages of a connection."""
    found = filter(None, map(_CHUNK_LINE.match, wire))
    made = []
    for one in found:
        kind, offset, length, flags, error = one["fields"].split("; ")
        number = "" if one["number"] == "0" else one["number"]
        made.append(Part(number, kind, offset, length, flags, error, bool(one["wrong"])))
    return tuple(made)


def extents_of(wire: Sequence[str]) -> tuple[Extent, ...]:
    """Return the extents of the reply in the last messages of a connection; () if there is none."""
    received = [found for line in wire if (found := _RECEIVED.match(line))]
    asked = _ASKED.findall("\n".join(wire))
    if not received or not asked:
        return ()
    return tuple(_extents(bytes.fromhex(received[-1][1].replace(" ", "")), int(asked[-1])))


def _extents(data: bytes, offset: int) -> Iterator[Extent]:
    if len(data) < _CHUNK.size + 4:
        return
    magic, _, kind, _, length = _CHUNK.unpack_from(data)
    if (magic, kind) != (_MAGIC, _BLOCK_STATUS):
        return
    payload = data[_CHUNK.size + 4 : _CHUNK.size + length]  # the first 4 bytes name the context
    for number, at in enumerate(range(0, len(payload) - 7, 8), 1):
        size, flags = struct.unpack_from(">II", payload, at)
        words = [word for bit, word in _FLAGS.items() if flags & bit]
        yield Extent(number, offset, size, f"{flags:#x}: {', '.join(words) or 'allocated data'}")
        offset += size
