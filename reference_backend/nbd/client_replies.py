"""The client's side of the transmission phase, without a socket.

NBD document, "Transmission". ``Replies`` turns bytes into complete replies. ``request`` builds
requests, also wrong ones, because conformance tests need them.
"""

from __future__ import annotations

import errno
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from blockio.extents import Extent
from blockio.layers import Command, CommandFlag
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.chunk_log import ChunkLog
from reference_backend.nbd.constants import Chunk, ChunkFlag
from reference_backend.nbd.errors import RemoteProtocolError, ReplyHasGaps
from reference_backend.nbd.settings import Bytes

REPLY_MAX = 64 * 1024 * 1024 + 64
"""Bytes of the longest reply payload accepted: the largest READ and a chunk's head."""

_WITHOUT_RANGE = (Command.FLUSH, Command.DISC)
_HEAD = 512
"""Bytes of a message that an error shows."""
_ANSWERED = 256
"""Requests that are remembered after their replies."""
_TOLD = 4
"""Cookies in flight that a message names at most."""


@dataclass(slots=True)
class Request:
    """A request that waits for its reply."""

    cookie: int
    command: int
    flags: int
    offset: int
    length: int
    data: bytearray | None = None
    covered: int = 0

    def __str__(self) -> str:
        """Return ``WRITE of 512 bytes at offset 4096, flags FUA``."""
        known = self.command in set(Command)
        text = Command(self.command).name if known else f"command {self.command}"
        if self.length or self.command not in _WITHOUT_RANGE:
            text += f" of {self.length} bytes at offset {self.offset}"
        if self.flags:
            text += f", flags {CommandFlag(self.flags).name or hex(self.flags)}"
        return text


@dataclass(slots=True)
class Reply:
    """The complete reply to one request.

    ``error`` is 0 or the error value of the reply, with ``message`` and ``error_offset``. ``data``
    is the data of a READ, and ``chunks`` its chunks (offset, length, is hole). ``extents`` has the
    extents of BLOCK_STATUS by context id.
    """

    cookie: int
    command: int
    error: int = 0
    message: str = ""
    error_offset: int | None = None
    data: bytearray = field(default_factory=bytearray)
    chunks: list[tuple[int, int, bool]] = field(default_factory=list)
    extents: dict[int, list[Extent]] = field(default_factory=dict)


def request(  # noqa: PLR0917  # the fields of the header, in their order
    mode: ReplyMode, flags: int, command: int, cookie: int, offset: int, length: int
) -> bytes:
    """Build a request header. In extended mode, WRITE gets PAYLOAD_LEN, which is required."""
    if mode is not ReplyMode.EXTENDED:
        return m.REQUEST.pack(c.REQUEST_MAGIC, flags, command, cookie, offset, length)
    if command == Command.WRITE:
        flags |= CommandFlag.PAYLOAD_LEN
    return m.EXTENDED_REQUEST.pack(c.EXTENDED_REQUEST_MAGIC, flags, command, cookie, offset, length)


class Replies:
    """Assembles replies from bytes.

    Call ``expect`` for each request. ``receive`` takes bytes and yields complete replies.

    :ivar head: the first bytes of the message that is handled, or was handled last.
    :ivar meant: the request that it answers, as far as its cookie tells; None if that is unknown.
    """

    def __init__(self, mode: ReplyMode) -> None:
        self.mode = mode
        self.waiting: dict[int, Request] = {}
        self._answered: deque[tuple[int, int, int, int, int, int]] = deque(maxlen=_ANSWERED)
        self._partial: dict[int, Reply] = {}
        self._buffer = bytearray()
        self.chunks = ChunkLog()
        self.head = b""
        self.meant: Request | None = None

    def expect(self, pending: Request) -> None:
        """Register a request that was sent."""
        if pending.command == Command.READ and pending.data is None:
            pending.data = bytearray()
        self.waiting[pending.cookie] = pending

    def needed(self) -> int:
        """Return how many bytes of the next message are known to be missing; at least 1."""
        size = self._message_size()
        return max(1, (size or self._header_size()) - len(self._buffer))

    def receive(self, data: Bytes) -> Iterator[Reply]:
        """Handle received bytes; yield the complete replies.

        :raise RemoteProtocolError: the server broke the protocol.
        """
        self._buffer += data
        while True:
            self.head, self.meant = bytes(self._buffer[:_HEAD]), None
            size = self._message_size()
            if size is None or len(self._buffer) < size:
                return
            message = bytes(self._buffer[:size])
            del self._buffer[:size]
            reply = self._take(message)
            if reply is not None:
                yield reply

    # -- headers

    def _header_size(self) -> int:
        if self.mode is ReplyMode.EXTENDED:
            return m.EXTENDED_REPLY.size
        if len(self._buffer) >= 4 and self._magic() == c.STRUCTURED_REPLY_MAGIC:
            return m.STRUCTURED_REPLY.size
        return m.SIMPLE_REPLY.size

    def _magic(self) -> int:
        return int(m.U32.unpack_from(self._buffer)[0])

    def _message_size(self) -> int | None:
        """Return the size of the first message, or None if its header is not complete."""
        if len(self._buffer) < m.U32.size:
            return None
        magic = self._magic()
        if magic not in _MAGICS[self.mode]:
            msg = f"reply magic is {magic:#x} in mode {self.mode.name}"
            raise RemoteProtocolError(msg)
        if len(self._buffer) < self._header_size():
            return None
        if magic == c.SIMPLE_REPLY_MAGIC:
            return self._simple_size()
        layout = m.EXTENDED_REPLY if self.mode is ReplyMode.EXTENDED else m.STRUCTURED_REPLY
        length = int(layout.unpack_from(self._buffer)[-1])
        if length > REPLY_MAX:
            msg = f"a reply chunk declares {length} bytes"
            raise RemoteProtocolError(msg)
        return layout.size + length

    def _simple_size(self) -> int:
        _magic, error, cookie = m.SIMPLE_REPLY.unpack_from(self._buffer)
        self.chunks.forget()
        pending = self._find(cookie)
        if pending.command == Command.READ:
            if self.mode is not ReplyMode.SIMPLE:
                msg = "a simple reply to READ after structured replies were agreed on"
                raise RemoteProtocolError(msg)
            if not error:
                return m.SIMPLE_REPLY.size + pending.length
        return m.SIMPLE_REPLY.size

    def _find(self, cookie: int) -> Request:
        self.meant = self.waiting.get(cookie)
        if self.meant is None:
            for error, known, command, flags, offset, length in reversed(self._answered):
                if known == cookie:
                    self.meant = Request(known, command, flags, offset, length)
                    raise RemoteProtocolError(_second(self.meant, error))
            altered, why = _altered(cookie, self.waiting)
            self.meant = self.waiting.get(altered)
            raise RemoteProtocolError(_of_no_request(cookie, altered, why, list(self.waiting)))
        return self.meant

    def _note(self, pending: Request, error: int) -> None:
        """Note a request that was answered, without its data."""
        one = pending
        self._answered.append((error, one.cookie, one.command, one.flags, one.offset, one.length))

    # -- messages

    def _take(self, message: bytes) -> Reply | None:
        if m.U32.unpack_from(message)[0] == c.SIMPLE_REPLY_MAGIC:
            _magic, error, cookie = m.SIMPLE_REPLY.unpack_from(message)
            pending = self.waiting.pop(cookie)
            self._note(pending, error)
            reply = Reply(cookie, pending.command, error)
            reply.data += message[m.SIMPLE_REPLY.size :]
            _need_extents(reply)
            return reply
        if self.mode is ReplyMode.EXTENDED:
            _magic, flags, kind, cookie, base, _length = m.EXTENDED_REPLY.unpack_from(message)
            payload = message[m.EXTENDED_REPLY.size :]
            self.chunks.add(kind, flags, cookie, payload)
            pending = self._find(cookie)
            if base != pending.offset:
                msg = f"a chunk repeats offset {base}, the request had {pending.offset}"
                raise RemoteProtocolError(msg)
        else:
            _magic, flags, kind, cookie, _length = m.STRUCTURED_REPLY.unpack_from(message)
            payload = message[m.STRUCTURED_REPLY.size :]
            self.chunks.add(kind, flags, cookie, payload)
            pending = self._find(cookie)
        reply = self._partial.setdefault(cookie, Reply(cookie, pending.command))
        self._take_chunk(pending, reply, kind, payload)
        if not flags & ChunkFlag.DONE:
            if kind == Chunk.NONE:
                msg = "a NONE chunk without DONE"
                raise RemoteProtocolError(msg)
            return None
        return self._finish(pending, reply)

    def _finish(self, pending: Request, reply: Reply) -> Reply:
        del self.waiting[pending.cookie]
        del self._partial[pending.cookie]
        self._note(pending, reply.error)
        if pending.command == Command.READ and not reply.error:
            if pending.covered != pending.length:
                msg = f"READ of {pending.length} bytes ended after {pending.covered}"
                raise ReplyHasGaps(msg, _gaps(pending, reply))
            reply.data = pending.data or bytearray()
        _need_extents(reply)
        return reply

    def _take_chunk(self, pending: Request, reply: Reply, kind: int, payload: bytes) -> None:
        if c.is_chunk_error(kind):
            _take_error(reply, kind, payload)
        elif kind == Chunk.NONE:
            if payload:
                msg = "a NONE chunk with a payload"
                raise RemoteProtocolError(msg)
        elif kind == Chunk.OFFSET_DATA and pending.command == Command.READ:
            wrong = "an OFFSET_DATA chunk without data (a read of no bytes gets NONE)"
            _need(len(payload) > m.U64.size, wrong)
            (offset,) = m.U64.unpack_from(payload)
            _place(pending, reply, offset, payload[m.U64.size :], len(payload) - m.U64.size)
        elif kind == Chunk.OFFSET_HOLE and pending.command == Command.READ:
            _need(len(payload) == m.OFFSET_HOLE.size, "an OFFSET_HOLE chunk of a wrong length")
            offset, length = m.OFFSET_HOLE.unpack(payload)
            _place(pending, reply, offset, None, length)
        elif kind in _STATUS_KINDS[self.mode] and pending.command == Command.BLOCK_STATUS:
            context, extents = parse_status(payload, extended=kind == Chunk.BLOCK_STATUS_EXT)
            _need(context not in reply.extents, f"context {context} was answered twice")
            reply.extents[context] = extents
        else:
            msg = f"a chunk of type {kind} in reply to command {pending.command}"
            raise RemoteProtocolError(msg)


_MAGICS = {
    ReplyMode.SIMPLE: (c.SIMPLE_REPLY_MAGIC,),
    ReplyMode.STRUCTURED: (c.SIMPLE_REPLY_MAGIC, c.STRUCTURED_REPLY_MAGIC),
    ReplyMode.EXTENDED: (c.EXTENDED_REPLY_MAGIC,),
}
_STATUS_KINDS: dict[ReplyMode, tuple[Chunk, ...]] = {
    ReplyMode.SIMPLE: (),
    ReplyMode.STRUCTURED: (Chunk.BLOCK_STATUS,),
    ReplyMode.EXTENDED: (Chunk.BLOCK_STATUS, Chunk.BLOCK_STATUS_EXT),
}
"""With extended headers a server may use either kind."""


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise RemoteProtocolError(message)


def _need_extents(reply: Reply) -> None:
    """Check that a successful BLOCK_STATUS has extents ("NBD_REPLY_TYPE_BLOCK_STATUS")."""
    answered = reply.error or reply.extents or reply.command != Command.BLOCK_STATUS
    _need(bool(answered), "BLOCK_STATUS succeeded without an extent")


def _take_error(reply: Reply, kind: int, payload: bytes) -> None:
    _need(len(payload) >= m.ERROR.size, "an error chunk that is too short")
    error, length = m.ERROR.unpack_from(payload)
    tail = m.ERROR.size + length
    _need(error != 0, "an error chunk with error 0")
    _need(tail <= len(payload), "an error chunk whose message does not fit")
    if not reply.error:
        reply.error = error
        reply.message = payload[m.ERROR.size : tail].decode(errors="replace")
        if kind == Chunk.ERROR_OFFSET:
            _need(len(payload) == tail + m.U64.size, "an ERROR_OFFSET chunk of a wrong length")
            (reply.error_offset,) = m.U64.unpack_from(payload, tail)


def _place(pending: Request, reply: Reply, offset: int, data: bytes | None, length: int) -> None:
    """Store a content chunk ("NBD_REPLY_TYPE_OFFSET_DATA": inside the request, no overlap)."""
    at = offset - pending.offset
    _need(length > 0, "an empty content chunk")
    _need(at >= 0 and at + length <= pending.length, "a content chunk outside the request")
    for other, size, _hole in reply.chunks:
        _need(offset + length <= other or other + size <= offset, "content chunks overlap")
    assert pending.data is not None
    if len(pending.data) < at + length:
        pending.data.extend(bytes(at + length - len(pending.data)))
    if data is not None:
        pending.data[at : at + length] = data
    pending.covered += length
    reply.chunks.append((offset, length, data is None))


def _gaps(pending: Request, reply: Reply) -> list[tuple[int, int]]:
    """Return the ranges (offset, length) of a read that had no content chunk."""
    found = []
    at, end = pending.offset, pending.offset + pending.length
    for offset, length, _hole in [*sorted(reply.chunks), (end, 0, False)]:
        if offset > at:
            found.append((at, offset - at))
        at = offset + length
    return found


def parse_status(payload: bytes, *, extended: bool) -> tuple[int, list[Extent]]:
    """Return context id and extents of a BLOCK_STATUS or BLOCK_STATUS_EXT payload.

    :raise RemoteProtocolError: lengths are wrong, an extent is empty, or there is none.
    """
    head, layout = (m.STATUS_EXT_HEAD, m.STATUS_EXT) if extended else (m.U32, m.STATUS)
    body = len(payload) - head.size
    _need(body > 0 and body % layout.size == 0, f"a status payload of {len(payload)} bytes")
    fields: Sequence[int] = head.unpack_from(payload)
    if extended and fields[1]:
        _need(fields[1] * layout.size == body, "a wrong count of status descriptors")
    found = [Extent(*pair) for pair in layout.iter_unpack(payload[head.size :])]
    empty = next((at for at, extent in enumerate(found, 1) if not extent.length), None)
    _need(empty is None, f"an empty extent: number {empty} of {len(found)} has length 0")
    return fields[0], found


def _altered(cookie: int, waiting: Collection[int]) -> tuple[int, str]:
    """Return the cookie in flight that was altered to this one, and how; (-1, "") without one."""
    turned = int.from_bytes(cookie.to_bytes(8, "big"), "little")
    if turned in waiting:
        return turned, "with its bytes in reverse order"
    cut = [one for one in waiting if one != cookie and one & 0xFFFFFFFF == cookie]
    return (cut[0], "without its upper 32 bits") if cut else (-1, "")


def _second(request: Request, error: int) -> str:
    """Return what is wrong with a reply to a request that has been answered."""
    name = errno.errorcode.get(error, f"errno {error}")
    first = f"failed with {name}" if error else "succeeded"
    return (
        f"a second reply to {request} (cookie {request.cookie:#018x}), which is not in flight: by"
        f" its first reply it {first}"
    )


def _of_no_request(cookie: int, altered: int, why: str, waiting: Sequence[int]) -> str:
    """Return what is wrong with the cookie of a reply, from the cookies that are in flight."""
    text = f"a reply to cookie {cookie:#018x}, which is not in flight"
    if why:
        return f"{text}: it is cookie {altered:#018x} {why}"
    if not waiting:
        return f"{text}; no request is"
    more = ", ..." if len(waiting) > _TOLD else ""
    return f"{text}; in flight: {', '.join(f'{one:#018x}' for one in waiting[:_TOLD])}{more}"
