"""An NBD server that sends wrong messages, for cases about QEMU's own client.

It follows the NBD document field by field, so that a case can change or cut exactly one field of
one message (`Lie`), or send other replies to a request. It serves one volume in memory, filled with
one byte. Its threads and its socket end with it.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from blockio.layers import Command
from qbdcheck.kit.hostile_messages import (
    CONTEXT,
    Message,
    Request,
    data_chunk,
    done_chunk,
    greeting,
    option_reply,
    simple,
    status_chunk,
)
from qbdcheck.programs.blockdev import image_options, nbd_node
from qbdcheck.programs.nbd_opener import EXPORT, NbdOpener
from qbdcheck.programs.qemu_io_output import Report
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Option, OptionReply

SIZE = 1 << 20
FILL = 0x5A
FLAGS = int(
    c.TransmissionFlag.HAS_FLAGS
    | c.TransmissionFlag.SEND_FLUSH
    | c.TransmissionFlag.SEND_FUA
    | c.TransmissionFlag.SEND_TRIM
    | c.TransmissionFlag.SEND_WRITE_ZEROES
    | c.TransmissionFlag.SEND_DF
)


@dataclass(frozen=True)
class Lie:
    """The misbehaviour of one server; by default none.

    :param fields: bytes to send in place of a field, by its name; the length may differ.
    :param cut: name of a field, and number of its bytes to send before the connection closes.
    :param close_after: name of a field: the connection closes after it.
    :param answer: returns the replies to a READ or BLOCK_STATUS, in place of the right ones.
    :param structured: whether the server supports structured replies.
    :param connections: number of connections that get the wrong messages. A connection that ends
        before them does not count (QEMU may connect again after a node is closed).
    """

    fields: Mapping[str, bytes] = field(default_factory=dict)
    cut: tuple[str, int] | None = None
    close_after: str = ""
    answer: Callable[[Request], Sequence[Message]] | None = None
    structured: bool = True
    connections: int = 1 << 30


HONEST = Lie()


class _HangUp(Exception):  # noqa: N818  # not an error: the lie demands it
    """Raised to close the connection now."""


class _Connection:
    """One connection, right except for its lie."""

    def __init__(
        self,
        sock: socket.socket,
        lie: Lie,
        volume: bytearray,
        sent: list[tuple[str, int]],
        liars: list[_Connection],
    ) -> None:
        self._sock = sock
        self._lie = lie
        self._liars = liars
        self._volume = volume
        self._sent = sent
        self._structured = False
        self._no_zeroes = False

    def run(self) -> None:
        with self._sock, contextlib.suppress(OSError, EOFError, _HangUp):
            self._send(greeting())
            (flags,) = m.CLIENT_FLAGS.unpack(self._take(m.CLIENT_FLAGS.size))
            self._no_zeroes = bool(flags & c.ClientFlag.NO_ZEROES)
            while not self._negotiate():
                pass
            while True:
                self._serve()

    def _may_lie(self) -> bool:
        if self not in self._liars:
            if len(self._liars) >= self._lie.connections:
                return False
            self._liars.append(self)
        return True

    def _take(self, length: int) -> bytes:
        data = self._sock.recv(length, socket.MSG_WAITALL) if length else b""
        if len(data) < length:
            raise EOFError
        return data

    def _send(self, *messages: Message) -> None:
        lie, out = self._lie, bytearray()
        for name, honest in (part for message in messages for part in message):
            if lie.cut is not None and lie.cut[0] == name and self._may_lie():
                self._sock.sendall(out + honest[: lie.cut[1]])
                raise _HangUp
            out += lie.fields[name] if name in lie.fields and self._may_lie() else honest
            self._sent.append((name, len(honest)))
            if name == lie.close_after and self._may_lie():
                self._sock.sendall(out)
                raise _HangUp
        self._sock.sendall(out)

    def _negotiate(self) -> bool:
        """Reply to one option; return whether transmission begins."""
        magic, option, length = m.OPTION.unpack(self._take(m.OPTION.size))
        if magic != c.OPTION_MAGIC:
            raise _HangUp
        self._take(length)
        if option == Option.STRUCTURED_REPLY and self._lie.structured:
            self._structured = True
            self._send(option_reply("structured", option, OptionReply.ACK))
        elif option == Option.SET_META_CONTEXT and self._structured:
            data = m.U32.pack(CONTEXT) + c.BASE_ALLOCATION.encode()
            context = option_reply("context", option, OptionReply.META_CONTEXT, data)
            self._send(context, option_reply("context-ack", option, OptionReply.ACK))
        elif option == Option.EXPORT_NAME:
            self._send(
                [
                    ("name.size", m.U64.pack(SIZE)),
                    ("name.flags", m.U16.pack(FLAGS)),
                    ("name.zeroes", bytes(0 if self._no_zeroes else c.EXPORT_ZEROES)),
                ]
            )
            return True
        elif option == Option.GO:
            export = m.INFO_EXPORT.pack(c.Info.EXPORT, SIZE, FLAGS)
            blocks = m.INFO_BLOCK_SIZE.pack(c.Info.BLOCK_SIZE, 1, 4096, 32 << 20)
            self._send(
                option_reply("export", option, OptionReply.INFO, export),
                option_reply("blocks", option, OptionReply.INFO, blocks),
                option_reply("go", option, OptionReply.ACK),
            )
            return True
        elif option == Option.ABORT:
            self._send(option_reply("abort", option, OptionReply.ACK))
            raise _HangUp
        else:
            self._send(option_reply("refusal", option, OptionReply.ERR_UNSUP))
        return False

    def _serve(self) -> None:
        """Reply to one request."""
        _magic, *header = m.REQUEST.unpack(self._take(m.REQUEST.size))
        flags, command, cookie, offset, length = header
        payload = self._take(length) if command == Command.WRITE else b""
        request = Request(flags, command, cookie, offset, length, payload)
        if command == Command.DISC:
            raise _HangUp
        answer = self._lie.answer
        if answer and command in {Command.READ, Command.BLOCK_STATUS} and self._may_lie():
            self._send(*answer(request))
            return
        self._send(self._honest(request))

    def _honest(self, request: Request) -> Message:
        _flags, command, cookie, offset, length, payload = request
        if command == Command.WRITE:
            self._volume[offset : offset + length] = payload
        elif command == Command.WRITE_ZEROES:
            self._volume[offset : offset + length] = bytes(length)
        if command == Command.BLOCK_STATUS:
            return status_chunk(request, [(length, 0)])
        if command == Command.READ:
            data = bytes(self._volume[offset : offset + length])
            if self._structured:
                return data_chunk(request, offset, data, done=True)
            return simple(cookie, data=data)
        if self._structured:
            return done_chunk(request)
        return simple(cookie)


class HostileServer:
    """A server on a Unix socket that follows `lie`, which may change at any time.

    :param directory: directory for its socket: the private one of the case.
    :param opener: QEMU's client, for `sees`.
    """

    READ = f"read -P {FILL:#x} 0 4096"
    """A read whose result is ``wrong data`` unless it has the contents of the volume."""

    def __init__(self, directory: Path, opener: NbdOpener) -> None:
        self.path = directory / "hostile.nbd"
        self._opener = opener
        self.volume = bytearray([FILL]) * SIZE
        self._liars: list[_Connection] = []
        self.sent: list[tuple[str, int]] = []
        self._lie = HONEST
        self._connections: list[socket.socket] = []
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def cuts(self, *commands: str, structured: bool = True) -> list[tuple[str, int]]:
        """Return all values for `Lie.cut` in what a right server sends to these commands.

        Before, within, and after each field that has bytes, each once.
        """
        self.sees(Lie(structured=structured), *commands)
        lengths = {name: length for name, length in self.sent if length}
        return [
            (name, kept)
            for name, length in lengths.items()
            for kept in sorted({0, 1, length - 1, length})
        ]

    @property
    def filename(self) -> str:
        """The argument of ``--image-opts``."""
        return image_options(nbd_node(self.path, EXPORT))

    def sees(self, lie: Lie, *commands: str, **options: object) -> str:
        """Open the server in QEMU; return the results of the opening and of each qemu-io command.

        :param options: options of the nbd node.
        :raise ProgramError: QEMU crashed or hangs.
        """
        self.tell(lie)
        return self._opener.sees(self.path, *commands, **options)

    def in_flight(self, lie: Lie, commands: Sequence[str], **options: object) -> list[Report]:
        """Run aio commands of qemu-io in flight together; return the report of each.

        :raise ProgramError: QEMU crashed, or hangs, or refuses to open.
        """
        self.tell(lie)
        return self._opener.in_flight(self.path, commands, **options)

    def tell(self, lie: Lie) -> None:
        """Set the lie for the next connections, with a fresh volume."""
        self.volume[:] = bytes([FILL]) * SIZE
        self.sent = []
        self._liars = []
        self._lie = lie

    def _accept(self) -> None:
        while True:
            try:
                sock, _address = self._listener.accept()
            except OSError:
                return
            self._connections.append(sock)
            connection = _Connection(sock, self._lie, self.volume, self.sent, self._liars)
            threading.Thread(target=connection.run, daemon=True).start()

    def close(self) -> None:
        """Close all connections, the server, and QEMU's client."""
        self._opener.close()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in self._connections:
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        self._thread.join(5.0)
