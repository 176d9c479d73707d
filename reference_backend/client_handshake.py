"""The handshake of the blocking client, one step at a time. It may break the protocol's rules."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import struct
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import ClassVar, Self

from reference_backend.listener import Address
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_options import (
    OptionReplyMessage,
    parse_greeting,
    parse_option_reply,
)
from reference_backend.nbd.constants import Info, Option, OptionReply, TransmissionFlag
from reference_backend.nbd.errors import OptionRefused, RemoteProtocolError
from reference_backend.nbd.settings import Bytes
from reference_backend.transport import set_timeout

_OLDSTYLE = struct.pack(">QQ", c.INIT_MAGIC, c.OLDSTYLE_MAGIC)


class ClientHandshake:
    """A connection to an NBD server in the handshake phase.

    A server with the oldstyle handshake (``is_oldstyle``) has no such phase: it serves its only
    export at once, whatever name a client gives.

    After INFO or GO: ``size`` in bytes, ``flags`` (TransmissionFlag), ``block_sizes`` (minimum,
    preferred, maximum in whole minimum blocks; None if not advertised), ``contexts`` (names by id),
    ``mode``.

    :cvar before: called with the address before each connection, if it is not None.
    """

    before: ClassVar[Callable[[Address], None] | None] = None

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.handshake_flags = 0
        self.size = 0
        self.flags = TransmissionFlag(0)
        self.block_sizes: tuple[int, int, int] | None = None
        self.contexts: dict[int, str] = {}
        self.mode = ReplyMode.SIMPLE
        self.export = ""
        self.canonical_name: str | None = None
        self.description: str | None = None
        self.in_transmission = False
        self.is_oldstyle = False
        self._doing = "greeting"

    @classmethod
    def open_socket(
        cls,
        address: Address,
        *,
        timeout_s: float | None = 30.0,
        client_flags: int | None = c.ClientFlag.FIXED_NEWSTYLE | c.ClientFlag.NO_ZEROES,
    ) -> Self:
        """Connect, receive the greeting, and send the client flags unless they are None.

        :raise OSError: no server listens there.
        :raise RemoteProtocolError: the greeting is not an NBD greeting.
        """
        if cls.before is not None:
            cls.before(address)
        sock = connect(address, timeout_s)
        client = cls(sock)
        try:
            greeting = client.receive(m.GREETING.size)
            if greeting.startswith(_OLDSTYLE):
                client._enter_oldstyle(greeting)
                return client
            client.handshake_flags = parse_greeting(greeting) or 0
            if client_flags is not None:
                client.send(m.CLIENT_FLAGS.pack(client_flags & client.handshake_flags))
        except BaseException:
            sock.close()
            raise
        return client

    def _enter_oldstyle(self, greeting: bytes) -> None:
        self._doing = "oldstyle greeting"
        greeting += self.receive(m.OLDSTYLE.size - len(greeting))
        *_magics, self.size, _handshake_flags, flags = m.OLDSTYLE.unpack(greeting)
        self.flags = TransmissionFlag(flags)
        self.is_oldstyle = self.in_transmission = True

    # -- bytes

    def heard(self) -> None:
        """Do nothing; called when data of the server has arrived. Others may replace it."""

    def send(self, data: Bytes) -> None:
        """Send raw bytes.

        :raise BrokenPipeError: the server closed.
        """
        try:
            self.sock.sendall(data)
        except BrokenPipeError as error:
            lost = BrokenPipeError(f"{self._doing}: the server closed the connection")
            lost.errno = error.errno
            raise lost from None

    def receive(self, length: int) -> bytes:
        """Receive exactly ``length`` bytes.

        :raise ConnectionResetError: the server closed.
        :raise TimeoutError: nothing was received in time.
        """
        parts = bytearray()
        while len(parts) < length:
            missing = length - len(parts)
            try:
                data = self.sock.recv(missing)
            except (TimeoutError, ConnectionError) as error:
                raise self._lost(error, self._doing) from None
            if not data:
                msg = f"{self._doing}: the server closed the connection, {missing} bytes early"
                raise ConnectionResetError(msg)
            self.heard()
            parts += data
        return bytes(parts)

    def _lost(self, error: OSError, what: str) -> OSError:
        """Return an error of the same kind that says what the server did not do, and when."""
        if isinstance(error, TimeoutError):
            limit_s = self.sock.gettimeout() or 0
            return TimeoutError(f"{what}: the server sent nothing for {limit_s:g} s")
        why = os.strerror(error.errno) if error.errno else str(error)
        lost = type(error)(f"{what}: the server ended the connection ({why})")
        lost.errno = error.errno
        return lost

    # -- options

    def send_option(self, number: int, data: bytes = b"") -> None:
        """Send an option with any number."""
        known = number in set(Option)
        self._doing = f"option {Option(number).name if known else number}"
        self.send(m.option(number, data))

    def receive_option_reply(self) -> OptionReplyMessage:
        """Receive one reply to an option, also an error reply."""
        head = self.receive(m.OPTION_REPLY.size)
        length = m.OPTION_REPLY.unpack(head)[3]
        parsed = parse_option_reply(head)  # checks the magic and the length
        if parsed is None:
            parsed = parse_option_reply(head + self.receive(length))
        assert parsed is not None
        return parsed[0]

    def option(self, number: int, data: bytes = b"") -> list[OptionReplyMessage]:
        """Send an option; return the replies before its ACK.

        :raise OptionRefused: the final reply is an error.
        """
        self.send_option(number, data)
        replies: list[OptionReplyMessage] = []
        while True:
            reply = self.receive_option_reply()
            if reply.option != number:
                msg = f"a reply to option {reply.option}, expected {number}"
                raise RemoteProtocolError(msg)
            if c.is_option_error(reply.reply):
                raise OptionRefused(number, reply.reply, reply.data.decode(errors="replace"))
            if reply.reply == OptionReply.ACK:
                return replies
            replies.append(reply)

    def opt_starttls(self, context: ssl.SSLContext, server_name: str | None = None) -> None:
        """Send STARTTLS and do the TLS handshake.

        :raise OptionRefused: the server does not offer TLS.
        :raise ssl.SSLError: the handshake failed.
        """
        self.option(Option.STARTTLS)
        if server_name is None:
            server_name = "localhost"
        self.sock = context.wrap_socket(self.sock, server_hostname=server_name)

    def opt_structured_reply(self) -> None:
        """Send STRUCTURED_REPLY."""
        self.option(Option.STRUCTURED_REPLY)
        self.mode = ReplyMode.STRUCTURED

    def opt_extended_headers(self) -> None:
        """Send EXTENDED_HEADERS."""
        self.option(Option.EXTENDED_HEADERS)
        self.mode = ReplyMode.EXTENDED

    def opt_list(self) -> list[str]:
        """Send LIST; return the names of all exports."""
        return [m.take_string(reply.data, 0)[0] for reply in self.option(Option.LIST)]

    def opt_abort(self) -> None:
        """Send ABORT and close."""
        self.option(Option.ABORT)
        self.sock.close()

    def opt_list_meta_context(self, export: str, queries: Sequence[str] = ()) -> list[str]:
        """Send LIST_META_CONTEXT; return the names that match."""
        data = m.meta_context_request(export, queries)
        replies = self.option(Option.LIST_META_CONTEXT, data)
        return [m.decode_name(reply.data[4:], "the name of a context") for reply in replies]

    def opt_set_meta_context(self, export: str, queries: Sequence[str]) -> dict[int, str]:
        """Send SET_META_CONTEXT; return the chosen names by id, also kept in ``contexts``."""
        data = m.meta_context_request(export, queries)
        replies = self.option(Option.SET_META_CONTEXT, data)
        with _well_formed("meta context"):
            self.contexts = {
                m.U32.unpack_from(reply.data)[0]: m.decode_name(reply.data[4:]) for reply in replies
            }
        return self.contexts

    def opt_info(self, export: str = "", infos: Iterable[int] = tuple(Info)) -> None:
        """Send INFO: get ``size``, ``flags`` and so on without entering the transmission phase."""
        self._info(Option.INFO, export, infos)

    def opt_go(self, export: str = "", infos: Iterable[int] = tuple(Info)) -> None:
        """Send GO: get the same data and enter the transmission phase."""
        self._info(Option.GO, export, infos)
        self.in_transmission = True

    def _info(self, number: int, export: str, infos: Iterable[int]) -> None:
        for reply in self.option(number, m.info_request(export, infos)):
            if reply.reply == OptionReply.INFO:
                with _well_formed("information"):
                    self._take_info(reply.data)
        self.export = export

    def _take_info(self, data: bytes) -> None:
        (kind,) = m.U16.unpack_from(data)
        if kind == Info.EXPORT:
            _kind, self.size, flags = m.INFO_EXPORT.unpack(data)
            self.flags = TransmissionFlag(flags)
        elif kind == Info.NAME:
            self.canonical_name = m.decode_name(data[2:], "the name of the export")
        elif kind == Info.DESCRIPTION:
            self.description = m.decode_name(data[2:], "the description of the export")
        elif kind == Info.BLOCK_SIZE:
            _kind, minimum, preferred, maximum = m.INFO_BLOCK_SIZE.unpack(data)
            # The maximum may be no multiple of the minimum, which each request must be.
            usable = maximum // minimum * minimum if minimum else maximum
            self.block_sizes = (minimum, preferred, usable or maximum)

    def opt_export_name(self, export: str = "", *, no_zeroes: bool = True) -> None:
        """Send EXPORT_NAME and enter the transmission phase; an oldstyle server is there already.

        :param no_zeroes: whether both sides agreed on NO_ZEROES.
        :raise ConnectionResetError: the server refused.
        :raise RemoteProtocolError: the server sent an option reply.
        """
        self.export = export
        if self.is_oldstyle:
            return
        self.send_option(Option.EXPORT_NAME, export.encode())
        self.size, flags = m.EXPORT.unpack(self.receive(m.EXPORT.size))
        if self.size == c.OPTION_REPLY_MAGIC:
            raise RemoteProtocolError(
                "EXPORT_NAME got an option reply; it has none: the size and the flags of the export"
                " come next, or the connection ends"
            )
        self.flags = TransmissionFlag(flags)
        if not no_zeroes:
            self._doing = "option EXPORT_NAME, the 124 zeroes after the flags of the export"
            self.receive(c.EXPORT_ZEROES)
        self.in_transmission = True


@contextlib.contextmanager
def _well_formed(what: str) -> Iterator[None]:
    """Turn a reply of a wrong length into the error of a peer that broke the protocol."""
    try:
        yield
    except struct.error as error:
        msg = f"malformed {what} in a reply: {error}"
        raise RemoteProtocolError(msg) from None


def connect(address: Address, timeout_s: float | None) -> socket.socket:
    """Return a connected socket whose calls wait ``timeout_s`` at most.

    :raise OSError: nobody listens.
    """
    if isinstance(address, tuple):
        sock = socket.create_connection(address, timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock
    return _connect_unix(str(address), timeout_s)


def _connect_unix(path: str, timeout_s: float | None) -> socket.socket:
    """Connect; wait if the server's backlog is full. A non-blocking connect would fail then."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        set_timeout(sock, socket.SO_SNDTIMEO, timeout_s or 0)
        sock.connect(path)
        set_timeout(sock, socket.SO_SNDTIMEO, 0)
    except OSError:
        sock.close()
        raise
    sock.settimeout(timeout_s)
    return sock
