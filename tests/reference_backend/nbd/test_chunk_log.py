"""The chunks of a reply that broke the protocol are kept in words."""

from __future__ import annotations

import struct

import pytest

from blockio.layers import Command
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.chunk_log import ChunkLog
from reference_backend.nbd.client_replies import Replies, Request
from reference_backend.nbd.constants import Chunk, ChunkFlag
from reference_backend.nbd.errors import RemoteProtocolError, ReplyHasGaps

MAGIC = 0x668E33EF


def chunk(kind: int, payload: bytes, flags: int = 0, cookie: int = 7) -> bytes:
    return struct.pack(">IHHQI", MAGIC, flags, kind, cookie, len(payload)) + payload


def data(offset: int, length: int, flags: int = 0) -> bytes:
    return chunk(Chunk.OFFSET_DATA, struct.pack(">Q", offset) + b"x" * length, flags)


def hole(offset: int, length: int, flags: int = 0) -> bytes:
    return chunk(Chunk.OFFSET_HOLE, struct.pack(">QI", offset, length), flags)


def received(stream: bytes) -> tuple[ChunkLog, RemoteProtocolError]:
    replies = Replies(ReplyMode.STRUCTURED)
    replies.expect(Request(7, Command.READ, 0, 0, 4096))
    with pytest.raises(RemoteProtocolError) as caught:
        list(replies.receive(stream))
    return replies.chunks, caught.value


def test_a_gap_is_in_the_error_and_the_chunks_around_it_are_listed() -> None:
    stream = data(0, 512) + hole(1024, 3072, ChunkFlag.DONE)
    log, error = received(stream)
    assert isinstance(error, ReplyHasGaps)
    assert error.gaps == ((512, 512),)
    assert list(log.lines(last_is_wrong=False)) == [
        "chunk 1: OFFSET_DATA; 0; 512; -; -",
        "chunk 2: OFFSET_HOLE; 1024; 3072; DONE; -",
    ]


def test_the_chunk_that_broke_the_protocol_is_the_last() -> None:
    log, error = received(data(0, 512) + data(256, 512))
    assert "overlap" in str(error)
    assert list(log.lines(last_is_wrong=True))[-1] == "chunk 2: OFFSET_DATA; 256; 512; -; -; wrong"


def test_errors_and_unknown_chunks_are_named() -> None:
    log = ChunkLog()
    assert list(log.lines(last_is_wrong=True)) == []
    log.add(Chunk.OFFSET_DATA, 0, 6, struct.pack(">Q", 0) + b"x")
    log.add(Chunk.ERROR, 0, 7, struct.pack(">IH", 5, 0))
    log.add(99, ChunkFlag.DONE, 7, b"abc")
    assert list(log.lines(last_is_wrong=False)) == [
        "chunk 1: ERROR; -; 6; -; 5 (Input/output error)",
        "chunk 2: type 99; -; 3; DONE; -",
    ]
