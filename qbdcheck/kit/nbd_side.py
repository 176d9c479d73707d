"""A side of a dual write behind an NBD socket: a whole batch is in flight at once.

Sending never waits while there are replies to receive, so requests and replies of any size cannot
block each other. With simple replies (no block status needed) the size of all replies to a batch is
known in advance, and they are received into one buffer.
"""

from __future__ import annotations

import contextlib
import errno
import select
import socket
from collections.abc import Callable
from dataclasses import replace

from blockio.extents import Extent
from blockio.layers import CommandFlag
from oracles.sides import COMMANDS, CONTEXT, Outcome, Payload, Payloads, command_flags
from oracles.workload import Batch, Kind, Request
from qbdcheck.machine_speed import elapsed_limit_s
from qbdcheck.programs.requests_sent import note
from reference_backend.client import Client
from reference_backend.nbd import client_replies as wire
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError, OptionRefused, RemoteProtocolError
from reference_backend.transport import SEND_BUFFER, set_timeout

_LOST = errno.ECONNRESET
"""Errno of a request whose connection was lost."""
_TIMEOUT_S = 30.0
_READ, _WRITE, _MAGIC = Kind.READ, Kind.WRITE, c.REQUEST_MAGIC
_POLLS = 150
"""Polls for a reply before blocking, a microsecond each: a wake-up costs more than most servers
need for a request."""
_PARTS_MAX = 512
"""Most buffers for one system call (IOV_MAX is 1024)."""


class NbdSide:
    """A disk behind an NBD server. A lost connection fails the requests in flight and is remade.

    :param uri: an NBD URI, or a function that returns the present one.
    :param status: whether block status is needed (structured replies).
    :param resizer: sets the size of the volume, in bytes.
    :param rounding: see `oracles.sides.Side`.
    """

    def __init__(
        self,
        uri: str | Callable[[], str],
        *,
        status: bool = True,
        resizer: Callable[[int], None] | None = None,
        rounding: int = 1,
    ) -> None:
        self._uri = uri if callable(uri) else lambda: uri
        self._status = status
        self._resizer = resizer
        self.rounding = rounding
        self._size = 0
        self._cookie = 0
        self._batch: Batch = ()
        self._outcomes: dict[int, Outcome] = {}
        self._waiting: dict[int, Request] = {}
        self._client: Client | None = None
        self._why_lost = ""
        self._buffer = bytearray()
        self._view = memoryview(self._buffer)
        self._connect()

    @property
    def size(self) -> int:
        """Size in bytes, as advertised when the connection was made."""
        return self._size

    def close(self) -> None:
        """Close the connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def resize(self, size: int) -> None:
        """Set the size in bytes, and connect again to see it."""
        if self._resizer is None:
            raise ValueError("this side cannot be resized")
        self.close()
        self._resizer(size)
        self._connect()

    # Requests ------------------------------------------------------------------------------------

    def start(self, batch: Batch, payloads: Payloads) -> None:
        """Send all requests of a batch."""
        self._batch = batch
        self._outcomes = {}
        self._waiting = {}
        self._why_lost = ""
        base = self._cookie + 1
        self._cookie += len(batch)
        try:
            client = self._client or self._connect()
            if any(request.length > client.longest for request in batch):
                self._do_long(client, batch, payloads, base)
            self._send(client, self._encoded(client, batch, payloads, base))
        except (OSError, EOFError, RemoteProtocolError, OptionRefused) as error:
            self._lose(error)

    def finish(self) -> list[Outcome]:
        """Return the outcome of each request of the batch."""
        client = self._client
        try:
            while self._waiting and client is not None:
                self._receive(client)
        except (OSError, EOFError, RemoteProtocolError) as error:
            self._lose(error)
        first = self._cookie - len(self._batch) + 1
        outcomes, lost = self._outcomes, Outcome(_LOST, why=self._why_lost)
        return [outcomes.get(first + n) or lost for n in range(len(self._batch))]

    def _connect(self) -> Client:
        contexts = (CONTEXT,) if self._status else ()
        limit_s = elapsed_limit_s(_TIMEOUT_S)
        client = Client.connect(
            self._uri(),
            structured=self._status,
            extended=False,
            contexts=contexts,
            timeout_s=limit_s,
        )
        self._client = client
        self._size = client.size
        self._fua = bool(client.flags & TransmissionFlag.SEND_FUA)
        self._replies = wire.Replies(client.mode)
        # With a timeout of Python's, send() would block even with MSG_DONTWAIT.
        client.sock.settimeout(None)
        set_timeout(client.sock, socket.SO_RCVTIMEO, limit_s)
        if client.sock.family == socket.AF_UNIX:  # room for a batch of large writes
            client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)
        self._poll = select.poll()
        self._poll.register(client.sock, select.POLLIN | select.POLLOUT)
        return client

    def _lose(self, error: Exception | None = None) -> None:
        """End the connection; remember how the server broke the protocol, if it did."""
        broken = isinstance(error, RemoteProtocolError)
        self._why_lost = f"the server broke the protocol: {error}" if broken else ""
        for request in self._waiting.values():  # for the report on a server that died
            note(str(request))
        if self._client is not None:
            with contextlib.suppress(OSError):
                self._client.sock.close()
            self._client = None
        self._waiting = {}

    def _do_long(self, client: Client, batch: Batch, payloads: Payloads, base: int) -> None:
        """Do requests above the maximum block in pieces, before the rest is in flight."""
        client.sock.settimeout(elapsed_limit_s(_TIMEOUT_S))
        for cookie, (request, data) in enumerate(zip(batch, payloads, strict=True), base):
            if request.length <= client.longest or request.kind not in (_READ, _WRITE):
                continue
            outcome = Outcome()
            flags = int(CommandFlag.FUA) if request.fua and self._fua else 0
            try:
                if request.kind is _READ:
                    outcome.data = client.read(request.offset, request.length)
                else:
                    client.write(request.offset, data, flags)
                    if request.fua and not self._fua:
                        client.flush()
            except NbdError as error:
                outcome.error = error.errno or errno.EIO
            self._outcomes[cookie] = outcome
        client.sock.settimeout(None)

    def _encoded(
        self, client: Client, batch: Batch, payloads: Payloads, base: int
    ) -> list[Payload]:
        """Return the bytes to send; requests that are not offered are skipped or replaced."""
        parts: list[Payload] = []
        simple, fua = client.mode is ReplyMode.SIMPLE, self._fua
        waiting, pack = self._waiting, m.REQUEST.pack
        answered = 0
        for cookie, (request, data) in enumerate(zip(batch, payloads, strict=True), base):
            if cookie in self._outcomes:
                continue  # done in pieces
            sent, payload, kind = request, data, request.kind
            if kind is _READ:
                command = flags = 0
                answered += request.length
            elif kind is _WRITE and (fua or not request.fua):
                command, flags = 1, int(request.fua)
            else:
                offered, payload = _offered(client, request, data)
                if offered is None:
                    # Without block status, report data.
                    self._outcomes[cookie] = Outcome(0, b"", [Extent(max(1, request.length), 0)])
                    continue
                sent = offered
                command, flags = COMMANDS[sent.kind], command_flags(sent)
            waiting[cookie] = request
            if not simple:
                expected = wire.Request(cookie, command, flags, sent.offset, sent.length)
                self._replies.expect(expected)
            parts.append(pack(_MAGIC, flags, command, cookie, sent.offset, sent.length))
            if payload:
                parts.append(payload)
        if simple:
            self._make_room(answered + m.SIMPLE_REPLY.size * len(batch))
        return parts

    def _make_room(self, needed: int) -> None:
        if len(self._buffer) < needed:
            self._buffer = bytearray(needed)
            self._view = memoryview(self._buffer)
        self._filled = self._taken = 0

    def _send(self, client: Client, parts: list[Payload]) -> None:
        sock = client.sock
        at = 0
        while at < len(parts):
            try:
                sent = sock.sendmsg(parts[at : at + _PARTS_MAX], (), socket.MSG_DONTWAIT)
            except BlockingIOError:
                ready = self._poll.poll(_TIMEOUT_S * 1000)
                if not ready:
                    raise TimeoutError from None
                if ready[0][1] & ~select.POLLOUT:
                    self._receive(client)
                continue
            while at < len(parts) and sent >= len(parts[at]):
                sent -= len(parts[at])
                at += 1
            if sent:
                parts[at] = memoryview(parts[at])[sent:]

    # Replies -------------------------------------------------------------------------------------

    def _receive(self, client: Client) -> None:
        """Receive some bytes, and process complete replies.

        :raise EOFError: the server closed the connection.
        :raise RemoteProtocolError: the server broke the protocol.
        """
        if client.mode is ReplyMode.SIMPLE:
            count = self._receive_into(client.sock, self._view[self._filled :])
            if not count:
                raise EOFError
            self._filled += count
            self._take_simple()
            return
        data = client.sock.recv(max(1 << 18, self._replies.needed()))
        if not data:
            raise EOFError
        for reply in self._replies.receive(data):
            extents = [e for key, e in reply.extents.items() if client.contexts[key] == CONTEXT]
            self._outcomes[reply.cookie] = Outcome(
                reply.error, reply.data, extents[0] if extents else ()
            )
            del self._waiting[reply.cookie]

    def _receive_into(self, sock: socket.socket, view: memoryview) -> int:
        receive, dont_wait = sock.recv_into, socket.MSG_DONTWAIT
        for _ in range(_POLLS):
            try:
                return receive(view, 0, dont_wait)
            except BlockingIOError:
                continue
        return sock.recv_into(view)

    def _take_simple(self) -> None:
        head = m.SIMPLE_REPLY.size
        at, filled, waiting = self._taken, self._filled, self._waiting
        while filled - at >= head:
            magic, error, cookie = m.SIMPLE_REPLY.unpack_from(self._buffer, at)
            request = waiting.get(cookie)
            if magic != c.SIMPLE_REPLY_MAGIC or request is None:
                raise RemoteProtocolError(f"reply to cookie {cookie:#x}, which is not in flight")
            data = b""
            if request.kind is _READ and not error:
                if filled - at - head < request.length:
                    break
                data = self._view[at + head : at + head + request.length].tobytes()
            at += head + len(data)
            del waiting[cookie]
            self._outcomes[cookie] = Outcome(error, data)
        self._taken = at


def _offered(client: Client, request: Request, data: Payload) -> tuple[Request | None, Payload]:
    """Return the request to send to a server that may lack commands and flags; None for none.

    A discard is advice and may be skipped; zeroes may be written; FUA needs its flag.
    """
    kind, flags = request.kind, client.flags
    if kind is Kind.STATUS and CONTEXT not in client.contexts.values():
        return None, b""
    if kind is Kind.DISCARD and not flags & TransmissionFlag.SEND_TRIM:
        return None, b""
    if kind is Kind.FLUSH and not flags & TransmissionFlag.SEND_FLUSH:
        return None, b""
    if kind is Kind.ZERO and not flags & TransmissionFlag.SEND_WRITE_ZEROES:
        request = replace(request, kind=Kind.WRITE, no_hole=False, fast=False)
        data = bytes(request.length)
    if request.fua and not flags & TransmissionFlag.SEND_FUA:
        request = replace(request, fua=False)
    if request.fast and not flags & TransmissionFlag.SEND_FAST_ZERO:
        request = replace(request, fast=False)
    return request, data
