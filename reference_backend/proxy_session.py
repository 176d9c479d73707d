"""One client of a proxy in the transmission phase: requests to the target, replies back.

A request that may bypass the layers is forwarded unchanged, and so is its reply. Many such requests
are in flight, in any order. A request that layers see runs in a thread of its own, so that one that
waits (a delay, a hang) does not delay others. The next request starts when this one has reached the
target, is complete, or waits. So faults hit requests in the order of arrival.

Cookies: the proxy numbers its own requests, because a layer may send more requests than the client.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from blockio.errors import BlockError
from blockio.extents import Extent
from blockio.layers import Command, CommandFlag, Layer, Reply, Request, stack
from reference_backend.blocking_requests import BlockingRequests, mark_under_way
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_replies import REPLY_MAX, Replies, request
from reference_backend.nbd.client_replies import Reply as WireReply
from reference_backend.nbd.client_replies import Request as WireRequest
from reference_backend.nbd.constants import ChunkFlag
from reference_backend.nbd.errors import NbdProtocolError, RemoteProtocolError
from reference_backend.nbd.replies import ReplyBuilder
from reference_backend.nbd.settings import Bytes
from reference_backend.proxy_handshake import Handshake, Stream

PAYLOAD_MAX = 64 * 1024 * 1024
"""Bytes of the longest WRITE; a longer one ends the connection."""
_COOKIE = slice(8, 16)
"""The position of the cookie in every reply header."""
_COMMANDS = frozenset(int(command) for command in Command)


class _Inbox:
    """Collects the messages of one reply for the thread that waits for it."""

    def __init__(self) -> None:
        self.messages: list[bytes] = []
        self.done = threading.Event()


class _Pending(NamedTuple):
    """A request in flight to the target. Without an inbox, its reply goes to the client."""

    cookie: int
    command: int
    length: int
    inbox: _Inbox | None


class _Passed(Reply):
    """The target's own reply, with its original messages."""

    __slots__ = ("asked", "messages", "original")

    def __init__(self, asked: Request, messages: list[bytes], **fields: object) -> None:
        super().__init__(**fields)  # type: ignore[arg-type]
        self.asked = asked
        self.messages = messages
        self.original = (self.data, dict(self.extents))

    def fits(self, request: Request) -> bool:
        """Return whether the original messages are still the right reply."""
        same = (self.asked.command, self.asked.offset, self.asked.length) == (
            request.command, request.offset, request.length,
        )  # fmt: skip
        data, extents = self.original
        return same and not self.error and self.data is data and self.extents == extents


class ProxySession:
    """A client and its own connection to the target, after the handshake.

    :param number: the number of the client, from 1, for rules that name a connection.
    """

    def __init__(
        self,
        number: int,
        client: Stream,
        target: Stream,
        handshake: Handshake,
        layers: Sequence[Layer],
    ) -> None:
        self._number = number
        self._client = client
        self._target = target
        self._mode = handshake.mode
        self._contexts = handshake.contexts
        self._layers = layers
        self._top = stack(layers, self._bottom)
        self._build = ReplyBuilder(handshake.mode)
        self._lock = threading.Lock()
        self._pending: dict[int, _Pending] = {}
        self._cookie = 0
        self._lost = False
        self._blocking = BlockingRequests()

    def run(self) -> None:
        """Serve until the client or the target disconnects; then disconnect both."""
        replies = threading.Thread(target=self._guard, args=(self._pass_replies,), daemon=True)
        replies.start()
        self._guard(self._take_requests)
        replies.join()

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            with contextlib.suppress(OSError, NbdProtocolError, MemoryError, ValueError):
                work()
        finally:
            self.end()

    def end(self) -> None:
        """Disconnect both sides, and wake threads that wait for the target."""
        with self._lock:
            self._lost = True
            left, self._pending = self._pending, {}
        self._client.shut()
        self._target.shut()
        for pending in left.values():
            if pending.inbox is not None:
                pending.inbox.done.set()

    # -- requests, in the thread of the client

    def _take_requests(self) -> None:
        extended = self._mode is ReplyMode.EXTENDED
        layout = m.EXTENDED_REQUEST if extended else m.REQUEST
        expected = c.EXTENDED_REQUEST_MAGIC if extended else c.REQUEST_MAGIC
        while True:
            header = self._client.receive(layout.size)
            magic, flags, command, cookie, offset, length = layout.unpack(header)
            if magic != expected:
                msg = f"request magic is {magic:#x}"
                raise RemoteProtocolError(msg)
            payload = b""
            if command == Command.WRITE or (extended and flags & CommandFlag.PAYLOAD_LEN):
                if length > PAYLOAD_MAX:
                    msg = f"a payload of {length} bytes"
                    raise RemoteProtocolError(msg)
                payload = self._client.receive(length)
            if command == Command.DISC:
                self._target.send(header)
                return
            if self._is_seen(command, offset, length, payload):
                seen = Request(
                    Command(command), flags, offset, length, cookie, payload, self._number
                )
                self._blocking.start(partial(self._answer, seen))
            else:
                number = self._expect(_Pending(cookie, command, length, None))
                self._target.send(_renumbered(header, number), payload)

    def _is_seen(self, command: int, offset: int, length: int, payload: bytes) -> bool:
        """Return whether a layer must see a request; if not, the layer counts it.

        Layers do not see unknown commands and BLOCK_STATUS with a payload.
        """
        if command not in _COMMANDS or (payload and command != Command.WRITE):
            return False
        active = [layer for layer in self._layers if getattr(layer, "active", True)]
        if len(active) != 1 or not length or getattr(active[0], "waits", True):
            return bool(active)
        passes: Mapping[int, object] = getattr(active[0], "passes", {})
        ask = passes.get(command)
        return not (callable(ask) and ask(offset, length))

    def _expect(self, pending: _Pending) -> int:
        with self._lock:
            if self._lost:
                msg = "the target is gone"
                raise ConnectionResetError(msg)
            self._cookie += 1
            self._pending[self._cookie] = pending
            return self._cookie

    # -- requests that layers see, each in a thread of its own

    def _answer(self, seen: Request) -> None:
        try:
            raw, keep = self._reply_to(seen)
            self._client.send(raw)
            if not keep:
                self.end()
        except (OSError, NbdProtocolError, MemoryError):
            self.end()

    def _reply_to(self, seen: Request) -> tuple[bytes, bool]:
        """Return the reply's bytes, and whether the connection is kept."""
        out: list[Bytes] = []
        cookie, offset = seen.cookie, seen.offset
        try:
            reply = self._top(seen)
        except BlockError as error:
            self._build.fail(out, cookie, offset, error.errno, str(error))
            return b"".join(out), True
        if isinstance(reply, _Passed) and reply.fits(seen):
            out.extend(_renumbered(message, cookie) for message in reply.messages)
        elif reply.error:
            self._build.fail(out, cookie, offset, reply.error, "")
        elif seen.command is Command.READ:
            whole = bool(seen.flags & CommandFlag.DF)
            self._build.read(out, cookie, offset, reply.data, whole=whole)
        elif seen.command is Command.BLOCK_STATUS:
            extents = {key: reply.extents[name] for key, name in self._contexts.items()}
            self._build.status(out, cookie, offset, extents)
        else:
            self._build.succeed(out, cookie, offset)
        raw = b"".join(out)
        return (raw, True) if reply.on_wire is None else reply.on_wire(raw)

    def _bottom(self, asked: Request) -> Reply:
        """Send a request to the target, below all layers.

        :raise BlockError: its reply is an error.
        :raise ConnectionResetError: it has disconnected.
        """
        inbox = _Inbox()
        number = self._expect(_Pending(asked.cookie, asked.command, asked.length, inbox))
        header = request(self._mode, asked.flags, asked.command, number, asked.offset, asked.length)
        self._target.send(header, asked.payload)
        mark_under_way()
        inbox.done.wait()
        answer = self._parse(number, asked, inbox.messages)
        if answer.error:
            raise BlockError(answer.error, answer.message)
        extents: dict[str, Sequence[Extent]] = {
            self._contexts.get(key, ""): found for key, found in answer.extents.items()
        }
        return _Passed(asked, inbox.messages, data=bytes(answer.data), extents=extents)

    def _parse(self, number: int, asked: Request, messages: list[bytes]) -> WireReply:
        replies = Replies(self._mode)
        replies.expect(WireRequest(number, asked.command, asked.flags, asked.offset, asked.length))
        for message in messages:
            for reply in replies.receive(message):
                return reply
        msg = "the target is gone"
        raise ConnectionResetError(msg)

    # -- replies, in the thread of the target

    def _pass_replies(self) -> None:
        while True:
            head = self._target.receive(m.SIMPLE_REPLY.size)
            (magic,) = m.U32.unpack_from(head)
            if magic == c.SIMPLE_REPLY_MAGIC and self._mode is not ReplyMode.EXTENDED:
                self._pass_simple(head)
            elif magic == _CHUNK_MAGIC[self._mode]:
                self._pass_chunk(head)
            else:
                msg = f"reply magic is {magic:#x}"
                raise RemoteProtocolError(msg)

    def _pass_simple(self, head: bytes) -> None:
        _magic, error, number = m.SIMPLE_REPLY.unpack(head)
        pending = self._find(number, done=True)
        data = b""
        if pending.command == Command.READ and not error and self._mode is ReplyMode.SIMPLE:
            data = self._target.receive(pending.length)
        self._deliver(pending, head + data, done=True)

    def _pass_chunk(self, head: bytes) -> None:
        layout = m.EXTENDED_REPLY if self._mode is ReplyMode.EXTENDED else m.STRUCTURED_REPLY
        head += self._target.receive(layout.size - len(head))
        _magic, flags, _kind, number, *_offset, length = layout.unpack(head)
        if length > REPLY_MAX:
            msg = f"a reply chunk declares {length} bytes"
            raise RemoteProtocolError(msg)
        done = bool(flags & ChunkFlag.DONE)
        pending = self._find(number, done=done)
        self._deliver(pending, head + self._target.receive(length), done=done)

    def _find(self, number: int, *, done: bool) -> _Pending:
        with self._lock:
            pending = self._pending.get(number)
            # A request with a waiting thread stays until its reply is delivered: end() needs it.
            if done and pending is not None and pending.inbox is None:
                del self._pending[number]
        if pending is None:
            msg = f"a reply to cookie {number:#x}, which is not in flight"
            raise RemoteProtocolError(msg)
        return pending

    def _deliver(self, pending: _Pending, message: bytes, *, done: bool) -> None:
        if pending.inbox is None:
            self._client.send(_renumbered(message, pending.cookie))
            return
        pending.inbox.messages.append(message)
        if done:
            with self._lock:
                self._pending.pop(m.U64.unpack_from(message, _COOKIE.start)[0], None)
            pending.inbox.done.set()


_CHUNK_MAGIC = {
    ReplyMode.SIMPLE: None,
    ReplyMode.STRUCTURED: c.STRUCTURED_REPLY_MAGIC,
    ReplyMode.EXTENDED: c.EXTENDED_REPLY_MAGIC,
}


def _renumbered(message: bytes, cookie: int) -> bytes:
    """Return a request or reply with another cookie; both have it at the same position."""
    return message[: _COOKIE.start] + m.U64.pack(cookie) + message[_COOKIE.stop :]
