"""Messages of an NBD server, field by field, as `HostileServer` sends and changes them.

The name of a field starts with its message: ``greeting.flags``, ``export.data``, ``chunk.cookie``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Chunk

CONTEXT = 7
"""Id of base:allocation on this server."""
DONE = int(c.ChunkFlag.DONE)

Message = list[tuple[str, bytes]]
"""Fields of one message in order: a name such as ``chunk.cookie``, and its bytes."""


class Request(NamedTuple):
    """A received request."""

    flags: int
    command: int
    cookie: int
    offset: int
    length: int
    payload: bytes


def greeting() -> Message:
    """Return the greeting ("Newstyle negotiation")."""
    flags = c.HandshakeFlag.FIXED_NEWSTYLE | c.HandshakeFlag.NO_ZEROES
    return [
        ("greeting.magic", m.U64.pack(c.INIT_MAGIC)),
        ("greeting.option-magic", m.U64.pack(c.OPTION_MAGIC)),
        ("greeting.flags", m.U16.pack(flags)),
    ]


def option_reply(name: str, option: int, reply: int, data: bytes = b"") -> Message:
    """Return the reply to an option; names of its fields start with ``name``."""
    return [
        (f"{name}.magic", m.U64.pack(c.OPTION_REPLY_MAGIC)),
        (f"{name}.option", m.U32.pack(option)),
        (f"{name}.type", m.U32.pack(reply)),
        (f"{name}.length", m.U32.pack(len(data))),
        (f"{name}.data", data),
    ]


def simple(cookie: int, errno: int = 0, data: bytes = b"") -> Message:
    """Return a simple reply ("Simple reply message")."""
    return [
        ("simple.magic", m.U32.pack(c.SIMPLE_REPLY_MAGIC)),
        ("simple.errno", m.U32.pack(errno)),
        ("simple.cookie", m.U64.pack(cookie)),
        ("simple.data", data),
    ]


def chunk(
    cookie: int, kind: int, *payload: tuple[str, bytes], flags: int = 0, name: str = "chunk"
) -> Message:
    """Return a chunk ("Structured reply chunk message")."""
    return [
        (f"{name}.magic", m.U32.pack(c.STRUCTURED_REPLY_MAGIC)),
        (f"{name}.flags", m.U16.pack(flags)),
        (f"{name}.type", m.U16.pack(kind)),
        (f"{name}.cookie", m.U64.pack(cookie)),
        (f"{name}.length", m.U32.pack(sum(len(part) for _, part in payload))),
        *((f"{name}.{part}", content) for part, content in payload),
    ]


def data_chunk(request: Request, offset: int, data: bytes, *, done: bool = False) -> Message:
    """Return OFFSET_DATA for a part of a read."""
    parts = (("offset", m.U64.pack(offset)), ("data", data))
    return chunk(request.cookie, Chunk.OFFSET_DATA, *parts, flags=DONE if done else 0)


def hole_chunk(request: Request, offset: int, length: int, *, done: bool = False) -> Message:
    """Return OFFSET_HOLE for a part of a read."""
    payload = ("hole", m.OFFSET_HOLE.pack(offset, length))
    return chunk(request.cookie, Chunk.OFFSET_HOLE, payload, flags=DONE if done else 0)


def done_chunk(request: Request) -> Message:
    """Return the empty chunk that ends a reply."""
    return chunk(request.cookie, Chunk.NONE, flags=DONE)


def status_chunk(
    request: Request,
    extents: Sequence[tuple[int, int]],
    context: int = CONTEXT,
    *,
    done: bool = True,
) -> Message:
    """Return BLOCK_STATUS with (length, flags) of each extent."""
    table = b"".join(m.STATUS.pack(*extent) for extent in extents)
    parts = (("context", m.U32.pack(context)), ("extents", table))
    return chunk(request.cookie, Chunk.BLOCK_STATUS, *parts, flags=DONE if done else 0)
