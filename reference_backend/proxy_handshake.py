"""The handshake of a proxy: every option goes to the target, every reply comes from it.

So a client sees exactly the names and flags of the target. The proxy only records the result. It
refuses STARTTLS, because it could not see encrypted requests.
NBD document, "Fixed newstyle negotiation".
"""

from __future__ import annotations

import socket
import threading

from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_options import parse_greeting
from reference_backend.nbd.constants import ClientFlag, Option, OptionReply
from reference_backend.nbd.errors import RemoteProtocolError
from reference_backend.nbd.settings import Bytes

OPTION_MAX = 1 << 20
"""Bytes of the longest option and of the longest reply to one that is forwarded."""
BUFFER = 256 * 1024


class Stream:
    """A socket that one thread reads in exact pieces, and many threads write."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._file = sock.makefile("rb", BUFFER)
        self._lock = threading.Lock()

    def receive(self, length: int) -> bytes:
        """Return exactly ``length`` bytes.

        :raise ConnectionResetError: the peer closed.
        """
        data: bytes = self._file.read(length)
        if len(data) < length:
            msg = "the peer closed the connection"
            raise ConnectionResetError(msg)
        return data

    def send(self, *parts: Bytes) -> None:
        """Send all parts without bytes of other threads in between."""
        data = parts[0] if len(parts) == 1 else b"".join(parts)
        with self._lock:
            self.sock.sendall(data)

    def shut(self) -> None:
        """End the connection in both directions; threads that wait for it wake up."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # the peer has closed already

    def close(self) -> None:
        """Close."""
        self._file.close()
        self.sock.close()


class Handshake:
    """Forwards a handshake, and records ``mode``, ``contexts`` (names by id), ``export``.

    :param default_export: replaces the empty name, if the proxy's URI has a name.
    """

    def __init__(self, client: Stream, target: Stream, default_export: str = "") -> None:
        self.mode = ReplyMode.SIMPLE
        self.contexts: dict[int, str] = {}
        self.export = ""
        self._client = client
        self._target = target
        self._default = default_export.encode()
        self._flags = 0

    def run(self) -> bool:
        """Run the handshake; return False if the client ended it before the transmission phase.

        :raise OSError: a connection broke.
        :raise RemoteProtocolError: the bytes are not NBD.
        """
        greeting = self._target.receive(m.GREETING.size)
        parse_greeting(greeting)
        self._client.send(greeting)
        flags = self._client.receive(m.CLIENT_FLAGS.size)
        (self._flags,) = m.CLIENT_FLAGS.unpack(flags)
        self._target.send(flags)
        while True:
            outcome = self._pass_option()
            if outcome in (Option.GO, Option.EXPORT_NAME):
                return True
            if outcome == Option.ABORT:
                return False

    def _pass_option(self) -> Option | None:
        """Forward one option; return its number if it ends the handshake."""
        magic, number, length = m.OPTION.unpack(self._client.receive(m.OPTION.size))
        if magic != c.OPTION_MAGIC or length > OPTION_MAX:
            msg = f"option magic {magic:#x}, {length} bytes"
            raise RemoteProtocolError(msg)
        data = self._named(number, self._client.receive(length))
        if number == Option.STARTTLS:
            text = b"this proxy does not support TLS"
            self._client.send(m.option_reply(number, OptionReply.ERR_UNSUP, text))
            return None
        self._target.send(m.option(number, data))
        if number == Option.EXPORT_NAME:
            zeroes = 0 if self._flags & ClientFlag.NO_ZEROES else c.EXPORT_ZEROES
            self._client.send(self._target.receive(m.EXPORT.size + zeroes))
            self.export = m.decode_name(data)
            return Option.EXPORT_NAME
        final = self._pass_answers(number)
        if final == OptionReply.ACK:
            self._agree(number, data)
        if number == Option.ABORT:
            return Option.ABORT
        return Option.GO if number == Option.GO and final == OptionReply.ACK else None

    def _pass_answers(self, number: int) -> int:
        """Forward the target's replies to one option; return the type of the last."""
        if number == Option.SET_META_CONTEXT:
            self.contexts = {}
        while True:
            head = self._target.receive(m.OPTION_REPLY.size)
            magic, _option, kind, length = m.OPTION_REPLY.unpack(head)
            if magic != c.OPTION_REPLY_MAGIC or length > OPTION_MAX:
                msg = f"option reply magic {magic:#x}, {length} bytes"
                raise RemoteProtocolError(msg)
            data = self._target.receive(length)
            self._client.send(head + data)
            if number == Option.SET_META_CONTEXT and kind == OptionReply.META_CONTEXT:
                self.contexts[m.U32.unpack_from(data)[0]] = m.decode_name(data[4:])
            if kind == OptionReply.ACK or c.is_option_error(kind):
                return int(kind)

    def _agree(self, number: int, data: bytes) -> None:
        if number == Option.STRUCTURED_REPLY:
            self.mode = ReplyMode.STRUCTURED
        elif number == Option.EXTENDED_HEADERS:
            self.mode = ReplyMode.EXTENDED
        elif number == Option.GO:
            self.export = m.take_string(data, 0)[0]

    def _named(self, number: int, data: bytes) -> bytes:
        """Insert the default export if the client names none."""
        if not self._default:
            return data
        if number == Option.EXPORT_NAME:
            return data or self._default
        if number in _WITH_NAME and data[:4] == bytes(4):
            return m.string(self._default.decode()) + data[4:]
        return data


_WITH_NAME = (Option.INFO, Option.GO, Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT)
