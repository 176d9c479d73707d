"""The transmission phase, as a server runs it: request bytes in, reply buffers out.

NBD document, "Transmission". No socket here: ``run(start, end)`` works through the requests that lie
whole in the receive buffer, and leaves their replies in ``out``, a list of buffers for one gathered
send.

This is the hot loop of the server. Design: one precompiled struct for the header; READ and WRITE
that break no rule go straight to the device; everything else (other commands, errors, bad requests)
takes the table-driven path in ``execution.py``. Counters are added to once a batch.
"""

from __future__ import annotations

from reference_backend.layers import Command
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import (
    EXTENDED_REQUEST_MAGIC,
    REQUEST_MAGIC,
    SIMPLE_REPLY_MAGIC,
)
from reference_backend.nbd.errors import RemoteProtocolError
from reference_backend.nbd.execution import Executor, Pending
from reference_backend.nbd.negotiation import ReplyMode
from reference_backend.nbd.settings import Buffer, Bytes
from reference_backend.store.errors import BlockError

READ, WRITE, DISC = int(Command.READ), int(Command.WRITE), int(Command.DISC)


class ServerTransmission:
    """One connection's transmission phase.

    ``buffer`` is the receive buffer that the caller fills; it may be exchanged between calls. After
    ``run``, ``out`` holds replies to be sent (and then cleared), ``needed`` says how many bytes the
    request at the place returned has in all, or 0 when its header is not whole, ``drain`` counts
    bytes the caller must receive and throw away, ``closed`` is True once the client said DISC.
    """

    def __init__(self, executor: Executor, buffer: Buffer) -> None:
        self.executor = executor
        self.out: list[Bytes] = []
        self.closed = False
        self.needed = 0
        self.drain = 0
        self._extended = executor.mode is ReplyMode.EXTENDED
        self.header_size = (m.EXTENDED_REQUEST if self._extended else m.REQUEST).size
        self.exchange(buffer)

    def exchange(self, buffer: Buffer) -> None:
        """Work on another buffer from now on; the caller has copied what was left."""
        self.buffer = buffer
        self.view = memoryview(buffer)

    def run(self, start: int, end: int) -> int:
        """Work through the requests in ``buffer[start:end]``; return where the first unfinished is.

        :raise RemoteProtocolError: a magic is wrong, or a payload longer than ``Limits.drain``.
        """
        if self.executor.layered is not None:
            return self._run_each(start, end)
        if self._extended:
            return self._run_each(start, end)
        return self._run_compact(start, end)

    def _run_compact(self, start: int, end: int) -> int:
        """Compact headers, no layers: the fast path."""
        executor = self.executor
        device = executor.device
        size, mask, longest = device.size, executor.align_mask, executor.longest
        writable_size = -1 if executor.read_only else size
        bad_write = ~executor.allowed[WRITE]
        structured = executor.mode is ReplyMode.STRUCTURED
        read_reply = executor.read_structured if structured else None
        unpack, view, append = m.REQUEST.unpack_from, self.view, self.out.append
        simple = m.SIMPLE_REPLY.pack
        read, write = device.read, device.write
        reads = writes = read_bytes = written_bytes = 0
        self.needed = 0
        try:
            while end - start >= 28:
                magic, flags, command, cookie, offset, length = unpack(view, start)
                if magic != REQUEST_MAGIC:
                    raise _bad_magic(magic)
                if command == WRITE:
                    stop = start + 28 + length
                    if (
                        flags & bad_write
                        or offset + length > writable_size
                        or (offset | length) & mask
                        or not 0 < length <= longest
                    ):
                        if not self._other(flags, command, cookie, offset, length, start, end):
                            return start
                        start += 28 + self._consumed
                        continue
                    if stop > end:
                        self.needed = 28 + length
                        return start
                    try:
                        if flags:
                            write(offset, view[start + 28 : stop], True)
                        else:
                            write(offset, view[start + 28 : stop])
                    except (BlockError, MemoryError) as error:
                        executor.fail(self.out, cookie, offset, error)
                    else:
                        append(simple(SIMPLE_REPLY_MAGIC, 0, cookie))
                        writes += 1
                        written_bytes += length
                    start = stop
                elif (
                    command == READ
                    and not flags
                    and offset + length <= size
                    and 0 < length <= longest
                    and not (offset | length) & mask
                ):
                    try:
                        data = read(offset, length)
                    except (BlockError, MemoryError) as error:
                        executor.fail(self.out, cookie, offset, error)
                    else:
                        if read_reply is not None:
                            read_reply(self.out, cookie, offset, data)
                        else:
                            append(simple(SIMPLE_REPLY_MAGIC, 0, cookie))
                            append(data)
                        reads += 1
                        read_bytes += length
                    start += 28
                else:
                    if not self._other(flags, command, cookie, offset, length, start, end):
                        return start
                    start += 28 + self._consumed
                    if self.closed:
                        return start
        finally:
            executor.count(reads, read_bytes, writes, written_bytes)
        return start

    def _run_each(self, start: int, end: int) -> int:
        """Extended headers or layers: every request takes the general path."""
        unpack = (m.EXTENDED_REQUEST if self._extended else m.REQUEST).unpack_from
        expected = EXTENDED_REQUEST_MAGIC if self._extended else REQUEST_MAGIC
        header = self.header_size
        self.needed = 0
        while end - start >= header and not self.closed:
            magic, flags, command, cookie, offset, length = unpack(self.view, start)
            if magic != expected:
                raise _bad_magic(magic)
            if not self._other(flags, command, cookie, offset, length, start, end):
                return start
            start += header + self._consumed
        return start

    _consumed = 0

    def _other(
        self, flags: int, command: int, cookie: int, offset: int, length: int, start: int, end: int
    ) -> bool:
        """Execute one request by table; return False when its payload is not there yet."""
        self._consumed = 0
        if command == DISC:
            self.closed = True
            return True
        executor = self.executor
        pending = Pending(flags, command, cookie, offset, length)
        payload_length = executor.payload_length(pending)
        payload: Bytes = b""
        if payload_length:
            refusal = executor.refusal(pending, payload_length)
            if refusal is not None:
                executor.refuse(self.out, pending, *refusal)
                self._skip(payload_length, end - start - self.header_size)
                return True
            begin = start + self.header_size
            if begin + payload_length > end:
                self.needed = self.header_size + payload_length
                return False
            payload = self.view[begin : begin + payload_length]
            self._consumed = payload_length
        executor.execute(self.out, pending, payload)
        return True

    def _skip(self, length: int, there: int) -> None:
        """Throw a refused payload away: what is there now, and the rest as it comes."""
        limit = self.executor.limits.drain
        if length > limit:
            msg = f"a payload of {length} bytes is over {limit}"
            raise RemoteProtocolError(msg)
        self._consumed = min(length, there)
        self.drain = length - self._consumed


def _bad_magic(magic: int) -> RemoteProtocolError:
    return RemoteProtocolError(f"request magic is {magic:#x}")
