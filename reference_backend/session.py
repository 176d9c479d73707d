"""One client's connection on the server: its socket, its buffer, its requests in flight.

A connection is in one of two states. During its handshake and while it is idle, it costs a few
kilobytes and is in the acceptor's epoll set. While it is active, it has a thread and a receive
buffer. So ten thousand idle clients need no thread, and an active one needs no system calls except
recv and sendmsg.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence, Sized
from functools import partial
from typing import NamedTuple

from blockio.layers import Command, Layer, Request
from reference_backend.blocking_requests import BlockingRequests
from reference_backend.nbd import messages as m
from reference_backend.nbd.execution import Executor
from reference_backend.nbd.negotiation import ServerNegotiation
from reference_backend.nbd.settings import Bytes, Features, Limits
from reference_backend.nbd.transmission import ServerTransmission
from reference_backend.transport import (
    MemoryBudget,
    Receive,
    Send,
    anonymous_memory,
    is_gone,
    is_tls,
    prepare,
    receiver,
    send_while,
    sender,
)

RECEIVE_SIZE = 2 * 1024 * 1024
"""Bytes of an active connection's buffer: the largest common request (1 MiB) and what follows."""
IDLE_S = 1.0
"""An active connection that receives nothing for this time gives up its thread and its buffer."""
PARK_MAX = 64 * 1024
"""A connection with more bytes of an unfinished request than this stays active, for ``stall_s``."""
SLOWEST_BYTES_S = 1024 * 1024
"""Slowest rate, in bytes a second, of a payload or reply whose memory others wait for."""
SHOWN_MAX = 64
"""Most queued requests that ``in_flight`` returns."""


class ConnectionInfo(NamedTuple):
    """Data of a connection for control events."""

    number: int
    peer: str
    export: str
    tls: bool


class Service(NamedTuple):
    """Objects that all connections of a server share."""

    features: Features
    limits: Limits
    budget: MemoryBudget
    layers: Sequence[Layer]
    active: Sized


class Connection:
    """One client. ``transmission`` is None until the handshake is over."""

    def __init__(self, number: int, sock: socket.socket, negotiation: ServerNegotiation) -> None:
        self.number = number
        self.sock = sock
        self.fd = sock.fileno()
        """The descriptor: the same for a TLS socket that is made of ``sock``; kept after close."""
        self.negotiation = negotiation
        self.deadline = 0.0
        self.unsent = b""
        self.is_announced = False
        """Whether ``on_connect`` was called, so that ``on_disconnect`` must be."""
        self.transmission: ServerTransmission | None = None
        self._rest = b""
        self._span = (0, 0)
        self._held = 0
        self._service: Service | None = None
        self._blocking: BlockingRequests | None = None
        self._blocking_executors: dict[int, Executor] = {}
        self._blocking_counts: Counter[str] = Counter()
        self._sending = threading.Lock()  # needed once there are blocking requests
        self._lock = threading.Lock()  # protects _blocking_executors and _blocking_counts

    def info(self) -> ConnectionInfo:
        """Describe the connection."""
        agreement = self.negotiation.agreement
        return ConnectionInfo(self.number, _peer(self.sock), agreement.export, agreement.tls)

    def begin(self, service: Service) -> None:
        """Enter the transmission phase."""
        self._service = service
        executor = Executor(
            self.negotiation.agreement,
            service.features,
            service.limits,
            layers=service.layers,
            reserve=self._reserve_read,
            connection=self.number,
            # one thread at a time may use a TLS connection of OpenSSL
            start_blocking=None if is_tls(self.sock) else self._start_blocking,
        )
        self._rest = self.negotiation.trailing()
        transmission = ServerTransmission(executor, bytearray())
        prepare(self.sock, IDLE_S, service.limits.stall_s)
        self.transmission = transmission

    def has_bytes(self) -> bool:
        """Return whether requests arrived with the end of the handshake: epoll cannot see them."""
        pending = self.sock.pending() if is_tls(self.sock) else 0
        return bool(self._rest) or pending > 0

    def serve(self) -> bool:
        """Serve until the client is idle (return True) or has left (return False).

        :raise OSError: the connection broke, or the client stalled.
        :raise NbdProtocolError: the client broke the protocol.
        """
        transmission = self.transmission
        assert transmission is not None
        buffer = anonymous_memory(RECEIVE_SIZE)
        end = len(self._rest)
        buffer[:end] = self._rest
        self._rest = b""
        transmission.exchange(buffer)
        try:
            assert self._service is not None
            receive = receiver(self.sock, IDLE_S, self._service.active)
            return self._serve(transmission, receive, sender(self.sock), end)
        finally:
            self._span = (0, 0)
            self._release()
            transmission.exchange(bytearray())

    def _serve(  # noqa: PLR0912  # the loop of an active connection
        self, transmission: ServerTransmission, receive: Receive, send: Send, end: int
    ) -> bool:
        run, out, view = transmission.run, transmission.out, transmission.view
        header = transmission.header_size
        start = 0
        stalled_since: float | None = None
        while True:
            self._span = (start, end)
            start = run(start, end)
            self._span = (start, end)  # before sending: a client may query what is in flight
            if out:
                if self._held:
                    self._send_large(out, self._held)
                    out.clear()
                    self._release()
                elif self._blocking is None:
                    send(out)
                    out.clear()
                else:
                    with self._sending:
                        send(out)
                    out.clear()
            if transmission.closed:
                if not transmission.executor.hang_up:
                    self.join_blocking()  # "NBD_CMD_DISC": requests in flight come first
                return False
            if transmission.more:
                continue
            if start == end:
                start = end = 0
                if transmission.drain:
                    self._drain(transmission, receive, view)
                target = view
            else:
                if transmission.needed > RECEIVE_SIZE and end - start == RECEIVE_SIZE:
                    self._run_oversize(transmission, receive, send, view)
                    start = end = 0
                    continue
                if start and max(transmission.needed, header) > RECEIVE_SIZE - start:
                    view[: end - start] = bytes(view[start:end])
                    start, end = 0, end - start
                    self._span = (start, end)
                target = view[end:]
            try:
                received = receive(target)
            except BlockingIOError:
                if end - start <= PARK_MAX:
                    self._rest = bytes(view[start:end])
                    return True
                stalled_since = self._still_patient(stalled_since)
                continue
            if not received:
                return False
            stalled_since = None
            end += received

    def _still_patient(self, since: float | None) -> float:
        """Return when the client began to stall.

        :raise TimeoutError: it has stalled for more than ``stall_s``.
        """
        now = time.monotonic()
        if since is not None and now - since > self._stall_s():
            msg = "the client stalled within a payload"
            raise TimeoutError(msg)
        return now if since is None else since

    def _stall_s(self) -> float:
        assert self._service is not None
        return self._service.limits.stall_s

    def _drain(self, transmission: ServerTransmission, receive: Receive, view: memoryview) -> None:
        """Receive and discard the payload of a refused request."""
        while transmission.drain:
            part = view[: min(len(view), transmission.drain)]
            transmission.drain -= self._receive_some(receive, part)

    def _run_oversize(
        self, transmission: ServerTransmission, receive: Receive, send: Send, there: memoryview
    ) -> None:
        """Receive and execute one request longer than the buffer, in a buffer of its own.

        Memory is taken only after a whole buffer has arrived (``there``): declaring a length is not
        enough. A client that then sends too slowly is dropped if others wait for memory.
        """
        own, needed = transmission.buffer, transmission.needed
        if self._blocking is not None:
            self._blocking.wait_for_room()  # those requests may wait for the memory taken below
        self._held += self._take_memory(needed)
        too_slow = self._time_limit(needed)
        large = anonymous_memory(needed)  # not closed: an exception may hold views of it
        end = len(there)
        large[:end] = bytes(there)
        view = memoryview(large)
        while end < needed:
            end += self._receive_some(receive, view[end:])
            if too_slow():
                msg = "the client sends its payload too slowly"
                raise TimeoutError(msg)
        transmission.exchange(large)
        try:
            transmission.run(0, needed)
        finally:
            transmission.exchange(own)
        self._release()
        with self._sending:
            send(transmission.out)
        transmission.out.clear()

    def _receive_some(self, receive: Receive, view: memoryview) -> int:
        since: float | None = None
        while True:
            try:
                received = receive(view)
            except BlockingIOError:
                since = self._still_patient(since)
                continue
            if not received:
                msg = "the client went away within a payload"
                raise ConnectionResetError(msg)
            return received

    def _send_large(self, out: list[Bytes], held: int) -> None:
        """Send replies that hold memory of the budget, within a time limit."""
        too_slow = self._time_limit(held)
        with self._sending:
            send_while(self.sock, out, self._stall_s(), too_slow)

    def _time_limit(self, length: int) -> Callable[[], bool]:
        """Return a function that returns whether ``length`` bytes have been held for too long.

        The limit applies only while another request waits for memory.
        """
        assert self._service is not None
        budget = self._service.budget
        deadline = time.monotonic() + self._stall_s() + length / SLOWEST_BYTES_S
        return lambda: budget.waiting > 0 and time.monotonic() > deadline

    def _reserve_read(self, length: int) -> None:
        self._held += self._take_for_read(length)

    def _take_for_read(self, length: int) -> int:
        """Take memory for a reply.

        :raise MemoryError: there is none. Only the request fails, not the connection.
        """
        try:
            return self._take_memory(length)
        except TimeoutError as error:
            raise MemoryError(str(error)) from None

    def _take_memory(self, length: int) -> int:
        """Take memory; wait longer than any other request may hold it while this one waits."""
        assert self._service is not None
        budget = self._service.budget
        patience_s = 2 * self._stall_s() + budget.limit / SLOWEST_BYTES_S
        return budget.take(length, patience_s, lambda: is_gone(self.sock))

    def _release(self) -> None:
        assert self._service is not None
        self._service.budget.give_back(self._held)
        self._held = 0

    # -- blocking requests, each in a thread of its own

    def _start_blocking(self, request: Request, contexts: dict[int, str]) -> None:
        if self._blocking is None:
            self._blocking = BlockingRequests()
        self._blocking.start(partial(self._answer_blocking, request, contexts))

    def _answer_blocking(self, request: Request, contexts: dict[int, str]) -> None:
        assert self.transmission is not None
        assert self._service is not None
        budget, held = self._service.budget, 0

        def reserve(length: int) -> None:
            nonlocal held
            held += self._take_for_read(length)

        executor = self.transmission.executor.for_thread(reserve)
        with self._lock:
            self._blocking_executors[id(executor)] = executor
        out: list[Bytes] = []
        keep = False
        try:
            try:
                executor.carry_out(out, request, contexts)
            finally:
                with self._lock:
                    del self._blocking_executors[id(executor)]
                    self._blocking_counts.update(executor.counts)
            if held:
                self._send_large(out, held)
            else:
                with self._sending:
                    sender(self.sock)(out)
            keep = not executor.hang_up
        except OSError:
            pass  # the client is gone, or takes nothing; a part of the reply may be sent
        finally:
            if not keep:
                self._shut_down()
            out.clear()
            budget.give_back(held)

    def _shut_down(self) -> None:
        """End the connection; its own thread notices and cleans up."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def abandon_blocking(self) -> None:
        """Cancel the blocking requests that still wait, because the client is gone."""
        if self._blocking is not None:
            self._blocking.abandon()
            self._shut_down()  # wakes threads that are sending

    def join_blocking(self, timeout_s: float | None = None) -> None:
        """Wait for the blocking requests, for each at most ``timeout_s`` seconds."""
        if self._blocking is not None:
            self._blocking.join(timeout_s)

    def counts(self) -> Counter[str]:
        """Return requests and bytes per command, and errors."""
        if self.transmission is None:
            return Counter()
        with self._lock:
            executors = [self.transmission.executor, *self._blocking_executors.values()]
            counts = [Counter(one.counts) for one in executors]  # copies: other threads count on
            return sum(counts, self._blocking_counts.copy())

    def in_flight(self) -> list[dict[str, object]]:
        """Return requests that were received and are not answered yet, for diagnosis.

        Called from another thread. The fast path takes no lock for it, and so is not slower.
        A request whose reply is being sent is not included: its client may have the reply already.
        """
        transmission = self.transmission
        if transmission is None:
            return []
        current = transmission.executor.current
        found = [] if current is None else [_described(current)]
        with self._lock:
            blocking = [one.current for one in self._blocking_executors.values()]
        found += [_described(request) for request in blocking if request is not None]
        waiting = _waiting(transmission, *self._span)
        known = current.cookie if current is not None else None
        return found + [_described(each) for each in waiting if each.cookie != known]


def _waiting(transmission: ServerTransmission, start: int, end: int) -> list[Request]:
    """Parse the request headers in the receive buffer."""
    buffer, header = transmission.buffer, transmission.header_size
    layout = m.REQUEST if header == m.REQUEST.size else m.EXTENDED_REQUEST
    rules = transmission.executor.rules
    found: list[Request] = []
    while end - start >= header and len(found) < SHOWN_MAX and end <= len(buffer):
        _magic, flags, number, cookie, offset, length = layout.unpack_from(buffer, start)
        try:
            command = Command(number)
        except ValueError:
            break
        found.append(Request(command, flags, offset, length, cookie))
        start += header + rules.payload_length(number, flags, length)
    return found


def _described(request: Request) -> dict[str, object]:
    return {
        "connection": request.connection,
        "command": request.command.name.lower(),
        "offset": request.offset,
        "length": request.length,
        "cookie": request.cookie,
    }


def _peer(sock: socket.socket) -> str:
    try:
        name = sock.getpeername()
    except OSError:
        return "?"
    return f"{name[0]}:{name[1]}" if isinstance(name, tuple) else "unix"
