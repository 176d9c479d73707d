"""A blocking NBD client: for tests, tools, and talking to any server, rules kept or broken.

``Client.connect`` does a whole handshake. ``Client.open_socket`` stops after the greeting, for option
haggling one step at a time (``opt_*``, ``send_option``). In transmission, ``read``, ``write`` and so
on wait for their reply; ``send_request`` and ``receive_reply`` pipeline. Nothing is checked that the
server should check.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import urllib.parse
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType

from reference_backend.layers import Command, CommandFlag
from reference_backend.nbd import client as wire
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Info, Option, OptionReply, TransmissionFlag
from reference_backend.nbd.errors import NbdError, OptionRefused, RemoteProtocolError
from reference_backend.nbd.negotiation import ReplyMode
from reference_backend.nbd.settings import Bytes
from reference_backend.store.extents import Extent

Address = str | Path | tuple[str, int]


def parse_uri(uri: str) -> tuple[Address, str, bool]:
    """Return address, export name and whether TLS is asked for, of an NBD URI.

    doc/uri.md of the NBD project: ``nbd[s]://host[:port]/export``, ``nbd[s]+unix:///export?socket=``.

    :raise ValueError: it is none.
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


class Client:
    """One connection to an NBD server.

    After the handshake: ``size`` in bytes, ``flags`` (TransmissionFlag), ``block_sizes`` (minimum,
    preferred, maximum, or None if the server did not tell), ``contexts`` (names by id), ``mode``.
    """

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
        self._replies = wire.Replies(ReplyMode.SIMPLE)
        self._ready: list[wire.Reply] = []
        self._cookie = 0

    # -- connecting

    @classmethod
    def open_socket(
        cls,
        address: Address,
        *,
        timeout_s: float | None = 30.0,
        client_flags: int | None = c.ClientFlag.FIXED_NEWSTYLE | c.ClientFlag.NO_ZEROES,
    ) -> Client:
        """Connect, take the greeting, send the client flags (None: do not), and stop there.

        :raise OSError: nobody listens. :raise RemoteProtocolError: the greeting is not NBD's.
        """
        if isinstance(address, tuple):
            sock = socket.create_connection(address, timeout_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            sock.settimeout(timeout_s)
            try:
                sock.connect(str(address))
            except OSError:
                sock.close()
                raise
        client = cls(sock)
        try:
            client.handshake_flags = wire.parse_greeting(client.receive(m.GREETING.size)) or 0
            if client_flags is not None:
                client.send(m.CLIENT_FLAGS.pack(client_flags & client.handshake_flags))
        except BaseException:
            sock.close()
            raise
        return client

    @classmethod
    def connect(
        cls,
        target: Address,
        export: str = "",
        *,
        structured: bool = True,
        extended: bool = False,
        contexts: Sequence[str] = (),
        tls: ssl.SSLContext | None = None,
        timeout_s: float | None = 30.0,
    ) -> Client:
        """Connect and enter the transmission phase.

        :param target: an NBD URI, a Unix socket's path, or (host, port). :param extended: ask for
            extended headers, and fall back to ``structured`` where they are refused.
        :raise OptionRefused: the server refuses the export, or TLS where ``tls`` is given.
        """
        address: Address = target
        if isinstance(target, str) and target.startswith("nbd"):
            address, named, _secure = parse_uri(target)
            export = export or named
        client = cls.open_socket(address, timeout_s=timeout_s)
        try:
            if tls is not None:
                client.opt_starttls(tls, str(address[0]) if isinstance(address, tuple) else None)
            client._agree_on_headers(structured=structured, extended=extended)
            if contexts and client.mode is not ReplyMode.SIMPLE:
                client.opt_set_meta_context(export, contexts)
            client.opt_go(export)
        except BaseException:
            client.sock.close()
            raise
        return client

    def _agree_on_headers(self, *, structured: bool, extended: bool) -> None:
        if extended:
            with contextlib.suppress(OptionRefused):
                self.opt_extended_headers()
                return
        if structured:
            with contextlib.suppress(OptionRefused):
                self.opt_structured_reply()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Say DISC if the transmission phase is on, and close."""
        if self.flags:
            with contextlib.suppress(OSError):
                self.send(wire.request(self.mode, 0, Command.DISC, 0, 0, 0))
        self.sock.close()

    # -- bytes

    def send(self, data: Bytes) -> None:
        """Send raw bytes."""
        self.sock.sendall(data)

    def receive(self, length: int) -> bytes:
        """Receive exactly so many bytes.

        :raise ConnectionResetError: the server closed. :raise TimeoutError: nothing came.
        """
        parts = bytearray()
        while len(parts) < length:
            data = self.sock.recv(length - len(parts))
            if not data:
                msg = f"the server closed the connection, {length - len(parts)} bytes early"
                raise ConnectionResetError(msg)
            parts += data
        return bytes(parts)

    # -- options

    def send_option(self, number: int, data: bytes = b"") -> None:
        """Send an option, known or not."""
        self.send(m.option(number, data))

    def receive_option_reply(self) -> wire.OptionReplyMessage:
        """Receive one reply to an option, error replies too."""
        head = self.receive(m.OPTION_REPLY.size)
        length = m.OPTION_REPLY.unpack(head)[3]
        parsed = wire.parse_option_reply(head + self.receive(min(length, 1 << 20)))
        assert parsed is not None
        return parsed[0]

    def option(self, number: int, data: bytes = b"") -> list[wire.OptionReplyMessage]:
        """Send an option; return the replies that came before its ACK.

        :raise OptionRefused: the final reply is an error.
        """
        self.send_option(number, data)
        replies = []
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
        """STARTTLS, and the TLS handshake.

        :raise OptionRefused: the server does without. :raise ssl.SSLError: the handshake failed.
        """
        self.option(Option.STARTTLS)
        if server_name is None:
            server_name = "localhost"
        self.sock = context.wrap_socket(self.sock, server_hostname=server_name)

    def opt_structured_reply(self) -> None:
        """STRUCTURED_REPLY."""
        self.option(Option.STRUCTURED_REPLY)
        self.mode = ReplyMode.STRUCTURED

    def opt_extended_headers(self) -> None:
        """EXTENDED_HEADERS."""
        self.option(Option.EXTENDED_HEADERS)
        self.mode = ReplyMode.EXTENDED

    def opt_list(self) -> list[str]:
        """LIST: return the names of all exports."""
        return [m.take_string(reply.data, 0)[0] for reply in self.option(Option.LIST)]

    def opt_abort(self) -> None:
        """ABORT, and close."""
        self.option(Option.ABORT)
        self.sock.close()

    def opt_list_meta_context(self, export: str, queries: Sequence[str] = ()) -> list[str]:
        """LIST_META_CONTEXT: return the names that match."""
        data = m.meta_context_request(export, queries)
        replies = self.option(Option.LIST_META_CONTEXT, data)
        return [m.decode_name(reply.data[4:]) for reply in replies]

    def opt_set_meta_context(self, export: str, queries: Sequence[str]) -> dict[int, str]:
        """SET_META_CONTEXT: return the names chosen, by id; also kept in ``contexts``."""
        data = m.meta_context_request(export, queries)
        replies = self.option(Option.SET_META_CONTEXT, data)
        self.contexts = {
            m.U32.unpack_from(reply.data)[0]: m.decode_name(reply.data[4:]) for reply in replies
        }
        return self.contexts

    def opt_info(self, export: str = "", infos: Iterable[int] = tuple(Info)) -> None:
        """INFO: learn ``size``, ``flags``, ``block_sizes`` and so on, without entering."""
        self._info(Option.INFO, export, infos)
        self.flags, self._told_flags = TransmissionFlag(0), self.flags

    def opt_go(self, export: str = "", infos: Iterable[int] = tuple(Info)) -> None:
        """GO: learn the same, and enter the transmission phase."""
        self._info(Option.GO, export, infos)
        self._replies = wire.Replies(self.mode)

    _told_flags = TransmissionFlag(0)

    @property
    def offered(self) -> TransmissionFlag:
        """The transmission flags that INFO or GO told last."""
        return self.flags or self._told_flags

    def _info(self, number: int, export: str, infos: Iterable[int]) -> None:
        for reply in self.option(number, m.info_request(export, infos)):
            if reply.reply == OptionReply.INFO:
                self._take_info(reply.data)
        self.export = export

    def _take_info(self, data: bytes) -> None:
        (kind,) = m.U16.unpack_from(data)
        if kind == Info.EXPORT:
            _kind, self.size, flags = m.INFO_EXPORT.unpack(data)
            self.flags = TransmissionFlag(flags)
        elif kind == Info.NAME:
            self.canonical_name = m.decode_name(data[2:])
        elif kind == Info.DESCRIPTION:
            self.description = m.decode_name(data[2:])
        elif kind == Info.BLOCK_SIZE:
            _kind, minimum, preferred, maximum = m.INFO_BLOCK_SIZE.unpack(data)
            self.block_sizes = (minimum, preferred, maximum)

    def opt_export_name(self, export: str = "", *, no_zeroes: bool = True) -> None:
        """EXPORT_NAME: enter; a refusal closes the connection (ConnectionResetError).

        :param no_zeroes: whether NO_ZEROES was agreed on by both sides.
        """
        self.send_option(Option.EXPORT_NAME, export.encode())
        self.size, flags = m.EXPORT.unpack(self.receive(m.EXPORT.size))
        self.flags = TransmissionFlag(flags)
        if not no_zeroes:
            self.receive(c.EXPORT_ZEROES)
        self.export = export
        self._replies = wire.Replies(self.mode)

    # -- transmission, pipelined

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
        """Send a request, known or not, and return its cookie. ``payload`` follows the header as is."""
        if cookie is None:
            self._cookie += 1
            cookie = self._cookie
        self._replies.expect(wire.Request(cookie, command, flags, offset, length))
        head = wire.request(self.mode, flags, command, cookie, offset, length)
        if len(payload) > 64 * 1024:
            self.send(head)
            self.send(payload)
        else:
            self.send(head + bytes(payload))
        return cookie

    def receive_reply(self, cookie: int | None = None) -> wire.Reply:
        """Return the next reply, or the one to ``cookie``; others are kept for later calls.

        :raise ConnectionResetError: the server closed. :raise RemoteProtocolError: it broke a rule.
        """
        while True:
            for index, reply in enumerate(self._ready):
                if cookie is None or reply.cookie == cookie:
                    return self._ready.pop(index)
            data = self.sock.recv(max(256 * 1024, self._replies.needed()))
            if not data:
                msg = "the server closed the connection"
                raise ConnectionResetError(msg)
            self._ready.extend(self._replies.receive(data))

    def call(
        self, command: int, offset: int = 0, length: int = 0, *, flags: int = 0, payload: Bytes = b""
    ) -> wire.Reply:
        """Send a request and wait for its reply.

        :raise NbdError: the reply is an error.
        """
        cookie = self.send_request(command, offset, length, flags=flags, payload=payload)
        reply = self.receive_reply(cookie)
        if reply.error:
            raise NbdError(reply.error, reply.message, reply.error_offset)
        return reply

    # -- transmission, one at a time; offsets and lengths in bytes, ``flags`` are CommandFlag bits

    def read(self, offset: int, length: int, flags: int = 0) -> bytearray:
        """READ."""
        return self.call(Command.READ, offset, length, flags=flags).data

    def write(self, offset: int, data: Bytes, flags: int = 0) -> None:
        """WRITE."""
        self.call(Command.WRITE, offset, len(data), flags=flags, payload=data)

    def write_zeroes(self, offset: int, length: int, flags: int = 0) -> None:
        """WRITE_ZEROES."""
        self.call(Command.WRITE_ZEROES, offset, length, flags=flags)

    def trim(self, offset: int, length: int, flags: int = 0) -> None:
        """TRIM."""
        self.call(Command.TRIM, offset, length, flags=flags)

    def flush(self, flags: int = 0) -> None:
        """FLUSH."""
        self.call(Command.FLUSH, flags=flags)

    def cache(self, offset: int, length: int, flags: int = 0) -> None:
        """CACHE."""
        self.call(Command.CACHE, offset, length, flags=flags)

    def block_status(
        self, offset: int, length: int, flags: int = 0, *, only: Sequence[str] | None = None
    ) -> dict[str, list[Extent]]:
        """BLOCK_STATUS: return extents by context name.

        :param only: contexts to ask for, by a payload (extended headers, BLOCK_STAT_PAYLOAD).
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
        return {self.contexts[key]: extents for key, extents in reply.extents.items()}
