"""One client's connection on the server: its socket, its buffers, its requests in flight.

A connection lives in one of two places. While it shakes hands or is idle it costs a few kilobytes
and lies in the server's epoll set; while it is active it has a thread and a receive buffer. So ten
thousand idle clients cost no thread, and a busy one no system call beside its recv and sendmsg.
"""

from __future__ import annotations

import mmap
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass

from reference_backend.layers import Below, Command
from reference_backend.nbd import messages as m
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.negotiation import ReplyMode, ServerNegotiation
from reference_backend.nbd.settings import Bytes, Features, Limits
from reference_backend.nbd.transmission import ServerTransmission

RECEIVE_SIZE = 2 * 1024 * 1024
"""Bytes of an active connection's buffer: the largest common request (1 MiB) and some that follow."""
IDLE_S = 1.0
"""An active connection that hears nothing for so long gives up its thread and its buffer."""
PARK_MAX = 64 * 1024
"""A connection with a part of a request this long stays active."""
IOV_MAX = 1000
"""Buffers of one sendmsg (POSIX IOV_MAX is 1024 on Linux)."""
TLS_RECORDS = 1024 * 1024
"""Bytes that are joined for one write on a TLS socket."""


@dataclass(frozen=True, slots=True)
class ConnectionInfo:
    """What control events tell of a connection."""

    number: int
    peer: str
    export: str
    tls: bool


class Connection:
    """One client."""

    def __init__(self, number: int, sock: socket.socket, negotiation: ServerNegotiation) -> None:
        self.number = number
        self.sock = sock
        self.negotiation = negotiation
        self.deadline = 0.0
        self.pending_out = b""
        self.transmission: ServerTransmission | None = None
        self.rest = b""
        self.span = (0, 0)

    def info(self) -> ConnectionInfo:
        """Describe the connection."""
        agreement = self.negotiation.agreement
        return ConnectionInfo(self.number, _peer(self.sock), agreement.export, agreement.tls)

    def begin(
        self, features: Features, limits: Limits, layered: Callable[[Below], Below] | None
    ) -> None:
        """Enter the transmission phase."""
        executor = Executor(
            self.negotiation.agreement,
            features,
            limits,
            layered=layered,
            connection=self.number,
        )
        self.rest = self.negotiation.trailing()
        self.transmission = ServerTransmission(executor, bytearray())
        self.sock.settimeout(None)
        set_timeout(self.sock, socket.SO_RCVTIMEO, IDLE_S)
        set_timeout(self.sock, socket.SO_SNDTIMEO, limits.stall_s)

    def serve(self) -> bool:
        """Serve until the client goes quiet (True) or away (False).

        :raise OSError: the connection broke. :raise NbdProtocolError: the client broke the protocol.
        """
        transmission = self.transmission
        assert transmission is not None
        buffer = mmap.mmap(-1, RECEIVE_SIZE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        end = len(self.rest)
        buffer[:end] = self.rest
        self.rest = b""
        transmission.exchange(buffer)
        try:
            return self._serve(transmission, end)
        finally:
            self.span = (0, 0)
            transmission.exchange(bytearray())

    def _serve(self, transmission: ServerTransmission, end: int) -> bool:
        sock, run, out = self.sock, transmission.run, transmission.out
        receive, send = sock.recv_into, sender(sock)
        view = transmission.view
        start = 0
        while True:
            self.span = (start, end)
            start = run(start, end)
            if out:
                send(out)
                out.clear()
            if transmission.closed:
                return False
            if start == end:
                start = end = 0
                if transmission.drain:
                    self._drain(transmission, view)
                target = view
            else:
                needed = transmission.needed
                if needed > RECEIVE_SIZE:
                    self._run_oversize(transmission, view[start:end], needed)
                    start = end = 0
                    continue
                if max(needed, transmission.header_size) > RECEIVE_SIZE - start:
                    view[: end - start] = bytes(view[start:end])
                    start, end = 0, end - start
                target = view[end:]
            self.span = (start, end)
            try:
                received = receive(target)
            except (BlockingIOError, ssl.SSLWantReadError):
                if end - start <= PARK_MAX:
                    self.rest = bytes(view[start:end])
                    return True
                continue
            if not received:
                return False
            end += received

    def _drain(self, transmission: ServerTransmission, view: memoryview) -> None:
        """Receive the payload of a refused request and throw it away."""
        while transmission.drain:
            transmission.drain -= self._receive(view[: min(len(view), transmission.drain)])

    def _run_oversize(
        self, transmission: ServerTransmission, there: memoryview, needed: int
    ) -> None:
        """Receive and carry out one request that is longer than the buffer, in a buffer of its own."""
        own = transmission.buffer
        with mmap.mmap(-1, needed, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as large:
            end = len(there)
            large[:end] = bytes(there)
            with memoryview(large) as view:
                while end < needed:
                    end += self._receive(view[end:])
            transmission.exchange(large)
            try:
                transmission.run(0, needed)
                sender(self.sock)(transmission.out)
                transmission.out.clear()
            finally:
                transmission.exchange(own)

    def _receive(self, view: memoryview) -> int:
        while True:
            try:
                received = self.sock.recv_into(view)
            except (BlockingIOError, ssl.SSLWantReadError):
                continue
            if not received:
                msg = "the client went away within a payload"
                raise ConnectionResetError(msg)
            return received

    def in_flight(self) -> list[dict[str, object]]:
        """Return the requests that were received and are not answered yet, for diagnosis.

        Read from another thread without a lock, so that serving pays nothing: a request may just
        have been answered.
        """
        transmission = self.transmission
        if transmission is None:
            return []
        current = transmission.executor.current
        found: list[dict[str, object]] = []
        if current is not None:
            found.append(
                _described(
                    self.number, current.command, current.offset, current.length, current.cookie
                )
            )
        return found


def _described(
    connection: int, command: int, offset: int, length: int, cookie: int
) -> dict[str, object]:
    name = Command(command).name.lower() if command in Command else str(command)
    return {
        "connection": connection,
        "command": name,
        "offset": offset,
        "length": length,
        "cookie": cookie,
    }


def set_timeout(sock: socket.socket, option: int, seconds: float) -> None:
    """Set SO_RCVTIMEO or SO_SNDTIMEO: a time limit that costs no poll() before each call."""
    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, option, value)


def sender(sock: socket.socket) -> Callable[[list[Bytes]], None]:
    """Return what sends a list of buffers on this socket, whole."""
    if isinstance(sock, ssl.SSLSocket):
        return lambda out: _send_tls(sock, out)
    return lambda out: send_all(sock, out)


def send_all(sock: socket.socket, out: list[Bytes]) -> None:
    """Send buffers gathered, all of them.

    :raise OSError: the client is away, or took nothing for SO_SNDTIMEO.
    """
    if len(out) == 1:
        sock.sendall(out[0])
        return
    for first in range(0, len(out), IOV_MAX):
        buffers = out[first : first + IOV_MAX]
        total = sum(map(len, buffers))
        sent = sock.sendmsg(buffers)
        while sent < total:
            buffers = _unsent(buffers, sent)
            total -= sent
            sent = sock.sendmsg(buffers)


def _unsent(buffers: list[Bytes], sent: int) -> list[Bytes]:
    for index, buffer in enumerate(buffers):
        if sent < len(buffer):
            return [memoryview(buffer)[sent:], *buffers[index + 1 :]]
        sent -= len(buffer)
    return []


def _send_tls(sock: ssl.SSLSocket, out: list[Bytes]) -> None:
    joined = bytearray()
    for buffer in out:
        joined += buffer
        if len(joined) >= TLS_RECORDS:
            sock.sendall(joined)
            joined = bytearray()
    if joined:
        sock.sendall(joined)


def _peer(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "?"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix"
