"""A blocking NBD client for tests and tools. It may break the protocol's rules.

``Client.connect`` does a whole handshake. ``Client.open_socket`` stops after the greeting; then
``opt_*`` and ``send_option`` send one option at a time. In the transmission phase, ``read``,
``write`` and so on wait for their reply; ``send_request`` and ``receive_reply`` pipeline. The
client does not check requests: that is the server's task.
"""

from __future__ import annotations

import contextlib
import os
import select
import socket
import ssl
import struct
import urllib.parse
from collections import deque
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import ClassVar, Self, TypeVar

from blockio.extents import Extent
from blockio.layers import Command, CommandFlag
from reference_backend.client_handshake import ClientHandshake
from reference_backend.listener import Address
from reference_backend.nbd import client_replies as wire
from reference_backend.nbd import constants as c
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.chunk_log import missing
from reference_backend.nbd.errors import (
    NbdError,
    NbdProtocolError,
    OptionRefused,
    RemoteProtocolError,
    ReplyHasGaps,
)
from reference_backend.nbd.settings import Bytes


def parse_uri(uri: str) -> tuple[Address, str, bool]:
    """Parse an NBD URI; return address, export name and whether it requires TLS.

    doc/uri.md of the NBD project: ``nbd[s]://host[:port]/export``, ``nbd[s]+unix:///export?socket=``.

    :raise ValueError: the text is not an NBD URI.
    """
    parts = urllib.parse.urlsplit(uri)
    export = urllib.parse.unquote(parts.path.removeprefix("/"))
    secure = parts.scheme.startswith("nbds")
    if parts.scheme in ("nbd", "nbds"):
        host = parts.hostname or "localhost"
        return (host, parts.port or c.DEFAULT_PORT), export, secure
    if parts.scheme in ("nbd+unix", "nbds+unix"):
        paths = urllib.parse.parse_qs(parts.query).get("socket")
        if paths:
            return paths[0], export, secure
    msg = f"not an NBD URI: {uri}"
    raise ValueError(msg)


_SECTOR = 512
"""Bytes that a power cut does not tear."""
_DEFAULT_LONGEST = 32 << 20
"""The longest READ and WRITE to a server that advertises no maximum, in bytes. It may end the
connection of a client that sends more (NBD document, "Block size constraints")."""

_NOTED = 6
"""Requests that an error of the protocol names: the last ones."""
_SHOWN = 512
"""Bytes of the wrong reply that it shows."""
_RECEIVED = 256 * 1024
"""Bytes that are received at a time."""
_SENT = 16 * 1024
"""Bytes that are sent through TLS at a time: OpenSSL takes all of them or none."""
_LEAVES_S = 5.0
"""The longest time that DISC waits for a server that reads nothing, in seconds."""
_Error = TypeVar("_Error", bound=Exception)


class Client(ClientHandshake):
    """A connection to an NBD server, handshake and transmission.

    :cvar headers: what `connect` asks for where its arguments do not say.
    """

    headers: ClassVar[ReplyMode] = ReplyMode.STRUCTURED
    receives_elsewhere = False
    """Whether another thread receives replies, so that sending must not."""

    def __init__(self, sock: socket.socket) -> None:
        super().__init__(sock)
        self._replies: wire.Replies | None = None
        self._ready: list[wire.Reply] = []
        self._unparsed = bytearray()
        self._sent: deque[tuple[int, wire.Request]] = deque(maxlen=_NOTED)
        self._cookie = 0

    @classmethod
    def connect(
        cls,
        target: Address,
        export: str = "",
        *,
        structured: bool | None = None,
        extended: bool | None = None,
        contexts: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        timeout_s: float | None = 30.0,
    ) -> Self:
        """Connect and enter the transmission phase.

        :param target: an NBD URI, a Unix socket's path, or (host, port).
        :param structured: ask for structured replies; None: as ``headers`` says.
        :param extended: ask for extended headers; fall back to ``structured`` if they are refused.
            None: as ``headers`` says.
        :raise OptionRefused: the server refuses the export, or TLS if ``tls`` is given.
        """
        address: Address = target
        if isinstance(target, str) and target.startswith("nbd"):
            address, named, _secure = parse_uri(target)
            export = export or named
        client = cls.open_socket(address, timeout_s=timeout_s)
        try:
            if tls is not None:
                client.opt_starttls(tls, str(address[0]) if isinstance(address, tuple) else None)
            client.negotiate(
                export,
                contexts,
                structured=cls.headers > ReplyMode.SIMPLE if structured is None else structured,
                extended=cls.headers is ReplyMode.EXTENDED if extended is None else extended,
            )
        except BaseException:
            client.sock.close()
            raise
        return client

    def negotiate(
        self, export: str, contexts: Sequence[str], *, structured: bool, extended: bool
    ) -> None:
        """Agree on what the server supports, and enter the transmission phase, as QEMU does.

        A server that refuses SET_META_CONTEXT gives no contexts. A server without GO, or without
        the fixed newstyle handshake, is entered by EXPORT_NAME. One with the oldstyle handshake has
        no options, and serves its only export.

        :raise OptionRefused: the server refuses the export.
        """
        if self.handshake_flags & c.HandshakeFlag.FIXED_NEWSTYLE:
            self.agree_on_headers(structured=structured, extended=extended)
            if contexts and self.mode is not ReplyMode.SIMPLE:
                with contextlib.suppress(OptionRefused):
                    self.opt_set_meta_context(export, contexts)
            try:
                self.opt_go(export)
            except OptionRefused as refusal:
                if refusal.reply != c.OptionReply.ERR_UNSUP:
                    raise
            else:
                return
        self.opt_export_name(
            export, no_zeroes=bool(self.handshake_flags & c.HandshakeFlag.NO_ZEROES)
        )

    def agree_on_headers(self, *, structured: bool, extended: bool) -> None:
        """Ask for extended headers or structured replies; continue if the server refuses."""
        if extended:
            with contextlib.suppress(OptionRefused):
                self.opt_extended_headers()
                return
        if structured:
            with contextlib.suppress(OptionRefused):
                self.opt_structured_reply()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def cut(self) -> None:
        """End the connection without DISC, also while another thread sends or receives."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Send DISC if the connection is in the transmission phase, and close.

        A server that reads nothing gets no DISC, so that it does not hold up the client.
        """
        if self.in_transmission:
            with contextlib.suppress(OSError):
                self.sock.settimeout(min(self.sock.gettimeout() or _LEAVES_S, _LEAVES_S))
                self._put(wire.request(self.mode, 0, Command.DISC, 0, 0, 0))
        self.sock.close()

    # -- transmission, pipelined

    def _wire(self) -> wire.Replies:
        """Return the parser of replies; it is made after the handshake."""
        if self._replies is None or self._replies.mode is not self.mode:
            self._replies = wire.Replies(self.mode)
        return self._replies

    def send_request(
        self,
        command: int,
        offset: int = 0,
        length: int = 0,
        *,
        flags: int = 0,
        payload: Bytes = b"",
        cookie: int | None = None,
    ) -> int:
        """Send a request with any command; return its cookie. ``payload`` follows the header."""
        if cookie is None:
            self._cookie += 1
            cookie = self._cookie
        request = wire.Request(cookie, command, flags, offset, length)
        self._sent.append((len(payload), request))
        self._wire().expect(request)
        head = wire.request(self.mode, flags, command, cookie, offset, length)
        if len(payload) > 64 * 1024:
            self._put(head)
            self._put(payload)
        else:
            self._put(head + bytes(payload))
        return cookie

    def _put(self, data: Bytes) -> None:
        """Send bytes; receive replies meanwhile if the server takes no more.

        A server may carry out one request after the other, and read on when its reply is taken. A
        client that reads no replies while it sends would then wait for the server, and the server
        for the client.

        :raise BrokenPipeError: the server closed. :raise TimeoutError: it neither took nor sent
            anything in time.
        """
        limit_s = self.sock.gettimeout()
        is_stand_in = type(self.sock) not in {socket.socket, ssl.SSLSocket}  # of a test
        if self.receives_elsewhere or is_stand_in or not limit_s:
            self.send(data)
            return
        view = memoryview(data).cast("B")
        while view:
            try:
                view = view[self._write(view) :]
            except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
                self._take_until_writable(limit_s)
            except BrokenPipeError:
                self.send(view)  # it names what the client was doing
                return

    def _write(self, view: memoryview) -> int:
        """Send what the server takes now; return how many bytes it was.

        :raise BlockingIOError, ssl.SSLWantWriteError: it takes nothing.
        """
        if not isinstance(self.sock, ssl.SSLSocket):
            return os.write(self.sock.fileno(), view)
        limit_s = self.sock.gettimeout()
        self.sock.settimeout(0)
        try:
            return self.sock.send(view[:_SENT])
        finally:
            self.sock.settimeout(limit_s)

    def _take_until_writable(self, limit_s: float) -> None:
        poll = select.poll()
        poll.register(self.sock, select.POLLIN | select.POLLOUT)
        ready = poll.poll(limit_s * 1000)
        if not ready:
            msg = "timed out"
            raise TimeoutError(msg)
        if ready[0][1] & select.POLLOUT:
            return
        if not (data := self._take_now()):
            msg = "the server closed the connection"
            raise BrokenPipeError(msg)
        self._unparsed += data

    def _take_now(self) -> bytes:
        """Receive what has come; through TLS, all that OpenSSL has read."""
        data = self.sock.recv(_RECEIVED)
        while isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            data += self.sock.recv(_RECEIVED)
        return data

    def receive_reply(self, cookie: int | None = None) -> wire.Reply:
        """Return the next reply, or the one to ``cookie``. Keep other replies for later calls.

        :raise ConnectionResetError: the server closed; the text names the request.
        :raise TimeoutError: nothing came within the time limit of the socket.
        :raise RemoteProtocolError: the server broke the protocol.
        """
        while True:
            for index, reply in enumerate(() if self._unparsed else self._ready):
                if cookie is None or reply.cookie == cookie:
                    return self._ready.pop(index)
            try:
                data = self._received()
            except (TimeoutError, ConnectionError) as error:
                raise self._lost(error, self._awaited(cookie)) from None
            if not data:
                msg = f"{self._awaited(cookie)}: the server closed the connection without a reply"
                raise self._noted(ConnectionResetError(msg), b"")
            self.heard()
            try:
                self._ready.extend(self._wire().receive(data))
            except NbdProtocolError as error:
                raise self._noted(error, data) from None

    def _received(self) -> bytes:
        """Return what was received while requests were sent, or what the server sends next."""
        if self._unparsed:
            data, self._unparsed = bytes(self._unparsed), bytearray()
            return data
        return self.sock.recv(max(_RECEIVED, self._wire().needed()))

    def _noted(self, error: _Error, data: bytes) -> _Error:
        """Return the error with the last requests, and the reply, as notes."""
        for size, one in self._sent:
            payload = f", {size} bytes of data" if size else ""
            error.add_note(f"sent: {_fields_of(one)}{payload}")
        if isinstance(error, NbdProtocolError):
            data = self._wire().head or data
            if (meant := self._wire().meant) is not None:
                error.add_note(f"answered: {_fields_of(meant)}")
        shown = data[:_SHOWN].hex(" ", -4) + (" ..." if len(data) > _SHOWN else "")
        error.add_note(f"received, {len(data)} bytes: {shown}" if data else "received: nothing")
        if isinstance(error, NbdProtocolError):
            is_wrong = not isinstance(error, ReplyHasGaps)
            for line in self._wire().chunks.lines(last_is_wrong=is_wrong):
                error.add_note(line)
        if isinstance(error, ReplyHasGaps):
            for line in missing(error.gaps):
                error.add_note(line)
        return error

    def call(
        self,
        command: int,
        offset: int = 0,
        length: int = 0,
        *,
        flags: int = 0,
        payload: Bytes = b"",
    ) -> wire.Reply:
        """Send a request and wait for its reply.

        :raise NbdError: the reply is an error.
        """
        request = wire.Request(0, command, flags, offset, length)
        try:
            cookie = self.send_request(command, offset, length, flags=flags, payload=payload)
        except (TimeoutError, ConnectionError) as error:
            raise self._lost(error, f"{request}: while it was sent") from None
        reply = self.receive_reply(cookie)
        if reply.error:
            raise NbdError(reply.error, reply.message, reply.error_offset, str(request))
        return reply

    def _awaited(self, cookie: int | None) -> str:
        """Return the requests without a reply in words: the one with a cookie, or the first."""
        waiting = self._wire().waiting
        if cookie in waiting:
            return str(waiting[cookie])
        first = next(iter(waiting.values()), None)
        more = f" and {len(waiting) - 1} more" if len(waiting) > 1 else ""
        return f"{first}{more}" if first is not None else "no request is in flight"

    # -- transmission, one at a time; offsets and lengths in bytes, ``flags`` are CommandFlag bits

    @property
    def longest(self) -> int:
        """Return the advertised maximum length of READ and WRITE, in bytes."""
        return self.block_sizes[2] if self.block_sizes is not None else _DEFAULT_LONGEST

    def read(self, offset: int, length: int, flags: int = 0) -> bytearray:
        """Send READ; split it into several if it is longer than the advertised maximum."""
        if length <= self.longest:
            return self.call(Command.READ, offset, length, flags=flags).data
        data = bytearray()
        for at, count in self._parts(offset, length):
            data += self.call(Command.READ, at, count, flags=flags).data
        return data

    def write(self, offset: int, data: Bytes, flags: int = 0) -> None:
        """Send WRITE; split it into several if it is longer than the advertised maximum."""
        if len(data) <= self.longest:
            self.call(Command.WRITE, offset, len(data), flags=flags, payload=data)
            return
        view = memoryview(data)
        for at, count in self._parts(offset, len(data)):
            part = view[at - offset : at - offset + count]
            self.call(Command.WRITE, at, count, flags=flags, payload=part)

    def _parts(self, offset: int, length: int) -> Iterator[tuple[int, int]]:
        """Yield offset and length of the parts of a range that is too long for one request.

        They begin at multiples of a sector, except for the first one: no sector is written in two
        parts, so that after a power cut each sector is as before, or as written.
        """
        at, end = offset, offset + length
        while at < end:
            stop = min(at + self.longest, end)
            if stop < end and stop // _SECTOR * _SECTOR > at:
                stop = stop // _SECTOR * _SECTOR
            yield at, stop - at
            at = stop

    def write_zeroes(self, offset: int, length: int, flags: int = 0) -> None:
        """Send WRITE_ZEROES."""
        self.call(Command.WRITE_ZEROES, offset, length, flags=flags)

    def trim(self, offset: int, length: int, flags: int = 0) -> None:
        """Send TRIM."""
        self.call(Command.TRIM, offset, length, flags=flags)

    def flush(self, flags: int = 0) -> None:
        """Send FLUSH."""
        self.call(Command.FLUSH, flags=flags)

    def cache(self, offset: int, length: int, flags: int = 0) -> None:
        """Send CACHE."""
        self.call(Command.CACHE, offset, length, flags=flags)

    def block_status(
        self, offset: int, length: int, flags: int = 0, *, only: Sequence[str] | None = None
    ) -> dict[str, list[Extent]]:
        """Send BLOCK_STATUS; return extents by context name.

        :param only: the contexts to ask for in a payload (extended headers, BLOCK_STAT_PAYLOAD).
        :raise RemoteProtocolError: the reply has a context that was not chosen.
        """
        if only is None:
            reply = self.call(Command.BLOCK_STATUS, offset, length, flags=flags)
        else:
            ids = [key for key, name in self.contexts.items() if name in only]
            payload = struct.pack(f">Q{len(ids)}I", length, *ids)
            reply = self.call(
                Command.BLOCK_STATUS,
                offset,
                len(payload),
                flags=flags | CommandFlag.PAYLOAD_LEN,
                payload=payload,
            )
        unknown = sorted(reply.extents.keys() - self.contexts.keys())
        if unknown:
            msg = f"a reply to BLOCK_STATUS has context {unknown[0]}, which was not chosen"
            raise RemoteProtocolError(msg)
        return {self.contexts[key]: extents for key, extents in reply.extents.items()}


def _fields_of(request: wire.Request) -> str:
    known = request.command in list(Command)
    name = Command(request.command).name if known else str(request.command)
    place = f"offset {request.offset}, length {request.length}"
    return f"{name}, {place}, flags {request.flags:#x}, cookie {request.cookie:#018x}"
