"""The last chunks of replies that a client received, to show a reply that broke the protocol."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence

from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Chunk, ChunkFlag, is_chunk_error

_MOST = 64
_SHOWN = 32
"""Bytes of a payload that are kept: they have offset, length, error and context."""
_GAPS = 8
WRONG = "wrong"
"""Last field of the line of the chunk that broke the protocol."""


class ChunkLog:
    """Keeps headers and the first bytes of payloads."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, int, int, bytes, int]] = deque(maxlen=_MOST)

    def add(self, kind: int, flags: int, cookie: int, payload: bytes) -> None:
        """Record a chunk."""
        self._chunks.append((kind, flags, cookie, payload[:_SHOWN], len(payload)))

    def forget(self) -> None:
        """Forget all: a simple reply has no chunks."""
        self._chunks.clear()

    def lines(self, *, last_is_wrong: bool) -> Iterator[str]:
        """Yield the chunks of the reply that came last, in the order of their arrival.

        Each is ``chunk 2: OFFSET_HOLE; offset; length; flags; error``, with ``-`` for no value.
        """
        if not self._chunks:
            return
        cookie = self._chunks[-1][2]
        chosen = [one for one in self._chunks if one[2] == cookie]
        for number, (kind, flags, _cookie, payload, size) in enumerate(chosen, 1):
            fields = [_name(kind), *_fields(kind, payload, size)]
            fields.insert(3, ChunkFlag(flags).name or hex(flags) if flags else "-")
            if last_is_wrong and number == len(chosen):
                fields.append(WRONG)
            yield f"chunk {number}: {'; '.join(fields)}"


def missing(gaps: Sequence[tuple[int, int]]) -> Iterator[str]:
    """Yield lines for the ranges (offset, length) of a read without a chunk, the first ones."""
    for offset, length in gaps[:_GAPS]:
        yield f"chunk 0: no chunk; {offset}; {length}; -; -; {WRONG}"


def _name(kind: int) -> str:
    return Chunk(kind).name if kind in list(Chunk) else f"type {kind}"


def _fields(kind: int, payload: bytes, size: int) -> list[str]:
    """Return offset, length and error of a chunk; for an unknown one only its length."""
    if kind == Chunk.OFFSET_DATA and size >= m.U64.size:
        return [str(m.U64.unpack_from(payload)[0]), str(size - m.U64.size), "-"]
    if kind == Chunk.OFFSET_HOLE and size >= m.OFFSET_HOLE.size:
        offset, length = m.OFFSET_HOLE.unpack_from(payload)
        return [str(offset), str(length), "-"]
    if is_chunk_error(kind) and size >= m.ERROR.size:
        error, _length = m.ERROR.unpack_from(payload)
        return ["-", str(size), f"{error} ({os.strerror(error)})"]
    return ["-", str(size), "-"]
