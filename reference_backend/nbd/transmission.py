"""The server's transmission phase: request bytes in, reply buffers out.

NBD document, "Transmission". There is no socket here: ``run(start, end)`` executes the requests
that are complete in the receive buffer. It leaves their replies in ``out``, a list of buffers for
one gathered send.

This is the hot loop of the server. One precompiled struct parses the header. READ and WRITE
requests that break no rule go directly to the device. Everything else (other commands, errors, bad
requests) takes the table-driven path in ``execution.py``. The loop is a generator, so that a batch
of one request does not set up thirty local names. Counters are updated once for each batch.
"""

from __future__ import annotations

from collections.abc import Callable, Generator

from blockio.errors import BlockError
from blockio.layers import Command
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.constants import (
    EXTENDED_REQUEST_MAGIC,
    REQUEST_MAGIC,
    SIMPLE_REPLY_MAGIC,
    STRUCTURED_REPLY_MAGIC,
    Chunk,
    ChunkFlag,
)
from reference_backend.nbd.errors import RemoteProtocolError
from reference_backend.nbd.execution import LARGE_READ, Executor
from reference_backend.nbd.replies import HOLE_UNIT
from reference_backend.nbd.settings import Buffer, Bytes

Passes = Callable[[int, int], bool]
"""Maps offset and length to whether a request may bypass a layer. The layer counts the request
then, so the function is called only once, when the payload is complete."""
_NO_LAYER = (None, None)
FLUSH_BYTES = 256 * 1024
"""After about this many bytes of replies, send them before executing more requests. So they are
still in the processor's cache, and a deep queue of large reads takes little memory."""

_READ, _WRITE, _DISC = int(Command.READ), int(Command.WRITE), int(Command.DISC)
_STATUS = int(Command.BLOCK_STATUS)
"""Its replies are sent one by one, because each may have thousands of extents."""
_DONE, _DATA = int(ChunkFlag.DONE), int(Chunk.OFFSET_DATA)
_HEADER = m.REQUEST.size


class ServerTransmission:
    """One connection's transmission phase.

    ``buffer`` is the receive buffer that the caller fills; it may be exchanged between calls. After
    ``run``:

    - ``out`` holds replies, which the caller sends and then clears.
    - ``more`` is True if complete requests are left, to be executed after sending.
    - ``needed`` is the total length of the first unfinished request, or 0 if its header is not
      complete.
    - ``drain`` is the number of bytes that the caller must receive and discard.
    - ``closed`` is True once the client sent DISC, or a layer ended the connection.
    """

    def __init__(self, executor: Executor, buffer: Buffer) -> None:
        self.executor = executor
        self._layers = executor.layers
        self._each = False  # whether replies are sent one by one, because a layer may wait
        self.out: list[Bytes] = []
        self.closed = False
        self.more = False
        self.needed = 0
        self.drain = 0
        self._consumed = 0
        self._may: tuple[Passes | None, Passes | None] = _NO_LAYER
        self._can = self._may
        self._asked: object = None  # the mapping of _can; a new object when rules change
        extended = executor.replies.mode is ReplyMode.EXTENDED
        self.header_size = (m.EXTENDED_REQUEST if extended else m.REQUEST).size
        self.exchange(buffer)
        self._in_general = self._general()
        next(self._in_general)
        self._in_fast = self._general() if extended else self._fast()
        next(self._in_fast)

    def exchange(self, buffer: Buffer) -> None:
        """Use another buffer from now on; the caller has copied the unfinished rest."""
        self.buffer = buffer
        self.view = memoryview(buffer)

    def run(self, start: int, end: int) -> int:
        """Execute the requests in ``buffer[start:end]``; return the start of the first unfinished.

        :raise RemoteProtocolError: a magic is wrong, or a payload is longer than ``Limits.drain``.
        """
        self._may = _NO_LAYER
        for layer in self._layers:
            if getattr(layer, "active", True):
                passes = getattr(layer, "passes", None)
                if self._may[0] or not passes or getattr(layer, "waits", True):
                    self._each = any(getattr(one, "waits", True) for one in self._layers)
                    return self._in_general.send((start, end))
                self._each = False
                if passes is not self._asked:
                    self._asked = passes
                    self._can = passes.get(_READ, _must_be_seen), passes.get(_WRITE, _must_be_seen)
                self._may = self._can
        return self._in_fast.send((start, end))

    def _fast(self) -> Generator[int, tuple[int, int], None]:  # noqa: C901, PLR0912, PLR0915
        """Handle compact headers without layers, or with one that requests may bypass.

        It is one function, because a call costs as much as a request.
        """
        executor = self.executor
        device, counts = executor.device, executor.counts
        rules, out = executor.rules, self.out
        mask, longest, read_only = rules.align_mask, rules.longest, rules.read_only
        longest_read = min(longest, LARGE_READ)
        bad_write = ~rules.allowed[_WRITE]
        structured = executor.replies.mode is ReplyMode.STRUCTURED
        unpack, append = m.REQUEST.unpack_from, out.append
        simple, data_head = m.SIMPLE_REPLY.pack, m.OFFSET_DATA.pack
        read, write = device.read, device.write
        read_in_chunks = executor.replies.read_in_chunks
        start, end = yield 0
        while True:
            size, view, (free_r, free_w) = device.size, self.view, self._may
            writable = -1 if read_only else size
            reads = writes = read_bytes = written_bytes = 0
            self.needed = 0
            self.more = False
            while end - start >= _HEADER:
                magic, flags, command, cookie, offset, length = unpack(view, start)
                if magic != REQUEST_MAGIC:
                    raise _bad_magic(magic)
                if (
                    command == _WRITE
                    and not flags & bad_write
                    and offset + length <= writable
                    and not (offset | length) & mask
                    and 0 < length <= longest
                    and (not free_w or start + _HEADER + length > end or free_w(offset, length))
                ):
                    begin = start + _HEADER
                    stop = begin + length
                    if stop > end:
                        self.needed = _HEADER + length
                        break
                    try:
                        write(offset, view[begin:stop], flags > 0)
                    except (BlockError, MemoryError) as error:
                        executor.fail(out, cookie, offset, error)
                    else:
                        append(simple(SIMPLE_REPLY_MAGIC, 0, cookie))
                        writes += 1
                        written_bytes += length
                    start = stop
                elif (
                    command == _READ
                    and not flags
                    and offset + length <= size
                    and not (offset | length) & mask
                    and 0 < length <= longest_read
                    and (not free_r or free_r(offset, length))
                ):
                    start += _HEADER
                    try:
                        data = read(offset, length)
                    except (BlockError, MemoryError) as error:
                        executor.fail(out, cookie, offset, error)
                        continue
                    if not structured:
                        append(simple(SIMPLE_REPLY_MAGIC, 0, cookie))
                        append(data)
                    elif length < HOLE_UNIT:
                        append(
                            data_head(
                                STRUCTURED_REPLY_MAGIC, _DONE, _DATA, cookie, length + 8, offset
                            )
                        )
                        append(data)
                    else:
                        read_in_chunks(out, cookie, offset, data)
                    reads += 1
                    read_bytes += length
                    if read_bytes >= FLUSH_BYTES:
                        self.more = True
                        break
                elif self._other(flags, command, cookie, offset, length, start, end):
                    start += _HEADER + self._consumed
                    if self.closed or free_r or command == _STATUS or length > LARGE_READ:
                        self.more = not self.closed
                        break
                else:
                    break
            if reads:
                counts["read"] += reads
                counts["read_bytes"] += read_bytes
            if writes:
                counts["write"] += writes
                counts["write_bytes"] += written_bytes
            view = data = None  # type: ignore[assignment]  # keep no buffer while waiting
            start, end = yield start

    def _general(self) -> Generator[int, tuple[int, int], None]:
        """Handle extended headers, or layers: every request takes the general path."""
        extended = self.executor.replies.mode is ReplyMode.EXTENDED
        unpack = (m.EXTENDED_REQUEST if extended else m.REQUEST).unpack_from
        expected = EXTENDED_REQUEST_MAGIC if extended else REQUEST_MAGIC
        header = self.header_size
        start, end = yield 0
        while True:
            self.needed = 0
            self.more = False
            queued = 0
            while end - start >= header and not self.closed:
                magic, flags, command, cookie, offset, length = unpack(self.view, start)
                if magic != expected:
                    raise _bad_magic(magic)
                if not self._other(flags, command, cookie, offset, length, start, end):
                    break
                start += header + self._consumed
                queued += length if command == _READ else 0
                if self._each or queued >= FLUSH_BYTES or command == _STATUS:
                    self.more = True
                    break
            start, end = yield start

    def _other(  # noqa: PLR0917  # the fields of the header, in their order
        self, flags: int, command: int, cookie: int, offset: int, length: int, start: int, end: int
    ) -> bool:
        """Execute one request by table; return False if that must wait.

        Either its payload is not complete, or other replies must be sent first (``more``).
        """
        self._consumed = 0
        if length > LARGE_READ and command == _READ and self.out:
            self.more = True  # it may wait for memory, and its client for these replies
            return False
        if command == _DISC:
            self.closed = True
            return True
        executor = self.executor
        rules = executor.rules
        payload: Bytes = b""
        payload_length = rules.payload_length(command, flags, length)
        if payload_length:
            verdict = rules.judge_payload(command, flags, offset, length)
            if verdict is not None:
                executor.refuse(self.out, cookie, offset, *verdict)
                self._skip(payload_length, end - start - self.header_size)
                return True
            begin = start + self.header_size
            if begin + payload_length > end:
                self.needed = self.header_size + payload_length
                return False
            payload = self.view[begin : begin + payload_length]
            self._consumed = payload_length
        executor.execute(self.out, flags, command, cookie, offset, length, payload)
        self.closed = executor.hang_up
        return True

    def _skip(self, length: int, there: int) -> None:
        """Discard a refused payload: what has arrived now, and the rest later (``drain``)."""
        limit = self.executor.limits.drain
        if length > limit:
            msg = f"a payload of {length} bytes is longer than {limit}"
            raise RemoteProtocolError(msg)
        self._consumed = min(length, there)
        self.drain = length - self._consumed


def _must_be_seen(offset: int, length: int) -> bool:
    """Let no request bypass the layer."""
    del offset, length
    return False


def _bad_magic(magic: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"request magic is {magic:#x}")
