"""Build a server's replies in each of the three modes.

NBD document, "Simple reply message", "Structured reply chunk message", "Extended reply chunk
message", "Structured reply types".
"""

from __future__ import annotations

from collections.abc import Sequence

from blockio.extents import Extent
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.constants import (
    EXTENDED_REPLY_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    Chunk,
    ChunkFlag,
)
from reference_backend.nbd.errors import wire_errno
from reference_backend.nbd.settings import Bytes

HOLE_UNIT = 64 * 1024
"""Reads of at least this many bytes are searched for zeroes in these units, to send holes."""
_ZEROES = bytes(HOLE_UNIT)
_DONE, _DATA = int(ChunkFlag.DONE), int(Chunk.OFFSET_DATA)
_MESSAGE_MAX = 1024
"""Bytes of an error's text; the document allows 4096."""
_EXTENT_32_MAX = 0xFFFF0000
"""Longest extent in a 32-bit descriptor; a multiple of any minimum block size."""


class ReplyBuilder:
    """Builds replies; each method appends buffers to ``out``."""

    def __init__(self, mode: ReplyMode) -> None:
        self.mode = mode

    def succeed(self, out: list[Bytes], cookie: int, offset: int) -> None:
        """Append a success without data. With structured replies, a simple reply is allowed."""
        if self.mode is ReplyMode.EXTENDED:
            out.append(self._chunk(_DONE, Chunk.NONE, cookie, offset, 0))
        else:
            out.append(m.SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie))

    def fail(self, out: list[Bytes], cookie: int, offset: int, number: int, message: str) -> None:
        """Append a failure. ``number`` is a Linux errno."""
        wire = wire_errno(number)
        if self.mode is ReplyMode.SIMPLE:
            out.append(m.SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, wire, cookie))
            return
        text = message.encode()[:_MESSAGE_MAX].decode(errors="ignore").encode()
        payload = m.ERROR.pack(wire, len(text)) + text
        out.append(self._chunk(_DONE, Chunk.ERROR, cookie, offset, len(payload)) + payload)

    def read(
        self, out: list[Bytes], cookie: int, offset: int, data: Bytes, *, whole: bool = False
    ) -> None:
        """Append the reply to a READ; ``whole`` (DF) forbids more than one chunk."""
        if self.mode is ReplyMode.SIMPLE:
            out.append(m.SIMPLE_REPLY.pack(SIMPLE_REPLY_MAGIC, 0, cookie))
            out.append(data)
        elif not len(data):
            out.append(self._chunk(_DONE, Chunk.NONE, cookie, offset, 0))
        elif whole or len(data) < HOLE_UNIT:
            self._data(out, _DONE, cookie, offset, 0, data)
        else:
            self.read_in_chunks(out, cookie, offset, data)

    def read_in_chunks(self, out: list[Bytes], cookie: int, offset: int, data: Bytes) -> None:
        """Append data chunks, and hole chunks for whole units of zeroes.

        The check uses the data, not the block status, so that the reply is atomic.
        """
        runs = zero_runs(data)
        if len(runs) == 1 and not runs[0][2]:
            self._data(out, _DONE, cookie, offset, 0, data)
            return
        view = memoryview(data)
        for start, stop, hole in runs:
            flags = _DONE if stop == len(data) else 0
            if hole:
                payload = m.OFFSET_HOLE.pack(offset + start, stop - start)
                head = self._chunk(flags, Chunk.OFFSET_HOLE, cookie, offset, len(payload))
                out.append(head + payload)
            else:
                self._data(out, flags, cookie, offset, start, view[start:stop])

    def status(
        self,
        out: list[Bytes],
        cookie: int,
        offset: int,
        extents: dict[int, Sequence[Extent]],
    ) -> None:
        """Append one status chunk for each context id, the last one DONE."""
        extended = self.mode is ReplyMode.EXTENDED
        kind = Chunk.BLOCK_STATUS_EXT if extended else Chunk.BLOCK_STATUS
        for number, (key, found) in enumerate(extents.items(), start=1):
            fitting = found if extended else _fit_32_bits(found)
            payload = m.status_payload(key, fitting, extended=extended)
            flags = _DONE if number == len(extents) else 0
            out.append(self._chunk(flags, kind, cookie, offset, len(payload)) + payload)

    def _chunk(self, flags: int, chunk: int, cookie: int, offset: int, length: int) -> bytes:
        if self.mode is ReplyMode.EXTENDED:
            return m.EXTENDED_REPLY.pack(EXTENDED_REPLY_MAGIC, flags, chunk, cookie, offset, length)
        return m.STRUCTURED_REPLY.pack(STRUCTURED_REPLY_MAGIC, flags, chunk, cookie, length)

    def _data(  # noqa: PLR0917  # the fields of the chunk, in their order
        self, out: list[Bytes], flags: int, cookie: int, offset: int, start: int, data: Bytes
    ) -> None:
        """Append an OFFSET_DATA chunk for data ``start`` bytes after the request's offset."""
        head = self._chunk(flags, _DATA, cookie, offset, len(data) + m.U64.size)
        out.append(head + m.U64.pack(offset + start))
        out.append(data)


def zero_runs(data: Bytes) -> list[tuple[int, int, bool]]:
    """Split data into runs of (start, stop, is zero), in units of 64 KiB; a short tail is data."""
    whole = data if isinstance(data, bytes | bytearray) else None
    runs: list[tuple[int, int, bool]] = []
    for start in range(0, len(data), HOLE_UNIT):
        stop = min(start + HOLE_UNIT, len(data))
        if stop - start < HOLE_UNIT or data[start]:
            hole = False
        elif whole is not None:
            hole = whole.startswith(_ZEROES, start)
        else:
            hole = bytes(data[start:stop]) == _ZEROES
        if runs and runs[-1][2] == hole:
            runs[-1] = (runs[-1][0], stop, hole)
        else:
            runs.append((start, stop, hole))
    return runs


def _fit_32_bits(extents: Sequence[Extent]) -> list[Extent]:
    """Cut after the first extent longer than 32 bits allow; the client asks again for the rest."""
    fitting: list[Extent] = []
    for extent in extents:
        if extent.length > _EXTENT_32_MAX:
            fitting.append(Extent(_EXTENT_32_MAX, extent.flags))
            break
        fitting.append(extent)
    return fitting
