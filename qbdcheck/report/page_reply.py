"""A reply that broke the protocol, as tables: its chunks, and the extents of a block status."""

from __future__ import annotations

import errno
import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_RECEIVED = re.compile(r"^received, \d+ bytes: ([0-9a-f ]+?)(?: \.\.\.)?$")
_ASKED = re.compile(r"^(?:sent|answered): BLOCK_STATUS, offset (\d+), length \d+", re.MULTILINE)
_CHUNK_LINE = re.compile(
    r"^chunk (?P<number>\d+): (?P<fields>[^;]*(?:;[^;]*){4}?)(?P<wrong>; wrong)?$"
)
"""As `reference_backend.nbd.chunk_log` writes it."""
_CHUNK = struct.Struct(">IHHQI")
"""Header of a structured reply chunk (NBD, "Structured reply chunk message"): magic, flags, type,
cookie, length of the payload."""
_MAGIC = 0x668E33EF
_SIMPLE = struct.Struct(">IIQ")
"""Simple reply (NBD, "Simple reply message"): magic, error, cookie."""
_SIMPLE_MAGIC = 0x67446698
_ERRORS = range(1 << 15 | 1, 1 << 16)
"""Types of chunks that report an error (NBD, "Structured reply types")."""
_ERROR = struct.Struct(">IH")
_ALTERED = re.compile(r": it is cookie 0x[0-9a-f]+ (with.*)")
"""As `reference_backend.nbd.client_replies` says how a cookie was altered."""
REPORT_ERRORS = "report an error"
_LEAST = 3
"""Replies that a fact needs."""
_BLOCK_STATUS = 5
_TYPES = {0: "NONE", 1: "OFFSET_DATA", 2: "OFFSET_HOLE", 5: "BLOCK_STATUS"}
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


@dataclass(frozen=True)
class Head:
    """The head of a reply: its kind in words, its cookie, and its error; 0 for success."""

    kind: str
    cookie: int
    error: int

    def __str__(self) -> str:
        error = errno.errorcode.get(self.error, str(self.error)) if self.error else "no error"
        return f"{self.kind}, {error}, cookie {self.cookie:#018x}"


def head_of(data: bytes) -> Head | None:
    """Return the head of a reply of a server; None if it has no magic number of one."""
    if len(data) >= _SIMPLE.size:
        magic, error, cookie = _SIMPLE.unpack_from(data)
        if magic == _SIMPLE_MAGIC:
            return Head("simple reply", cookie, error)
    if len(data) < _CHUNK.size:
        return None
    magic, _, kind, cookie, length = _CHUNK.unpack_from(data)
    if magic != _MAGIC:
        return None
    if kind not in _ERRORS:
        return Head(f"chunk of type {_TYPES.get(kind, kind)}", cookie, 0)
    is_whole = length >= _ERROR.size and len(data) >= _CHUNK.size + _ERROR.size
    error = _ERROR.unpack_from(data, _CHUNK.size)[0] if is_whole else 0
    return Head("error chunk", cookie, error)


def received(wire: Sequence[str]) -> bytes:
    """Return the data that a connection received last, as far as it is recorded."""
    found = [one for line in wire if (one := _RECEIVED.match(line))]
    return bytes.fromhex(found[-1][1].replace(" ", "")) if found else b""


def reply_facts(replies: Sequence[tuple[str, Sequence[str]]]) -> list[str]:
    """Return what the replies that broke the protocol have in common.

    :param replies: of each failure, what is wrong, and the messages of the connection.
    """
    if len(replies) < _LEAST:
        return []
    facts = []
    altered = [found[1] if (found := _ALTERED.search(text)) else "" for text, _ in replies]
    if altered[0] and len(set(altered)) == 1:
        facts.append(f"all {len(replies)} broken replies have a cookie {altered[0]}")
    heads = [head for _, wire in replies if (head := head_of(received(wire))) is not None]
    if len(heads) == len(replies) and all(one.error for one in heads):
        names = dict.fromkeys(errno.errorcode.get(one.error, str(one.error)) for one in heads)
        which = "" if facts else " broken replies"
        facts.append(f"all {len(heads)}{which} {REPORT_ERRORS} ({', '.join(names)})")
    return facts


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
    data, asked = received(wire), _ASKED.findall("\n".join(wire))
    return tuple(_extents(data, int(asked[-1]))) if data and asked else ()


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
