"""Bytes in and out of a connected socket, plain or TLS, and the memory that clients share."""

from __future__ import annotations

import mmap
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Sized
from typing import TYPE_CHECKING, TypeGuard

from reference_backend.nbd.settings import Bytes

if TYPE_CHECKING:
    import ssl

SPINS = 50
"""Attempts to receive the next request before sleeping; each takes about a microsecond."""
SPIN_RETRY = 64
"""After failed spins, block this many times before trying all SPINS again."""
SEND_BUFFER = 512 * 1024
"""Bytes of replies in a Unix socket's buffer. With the default of 208 KiB, a server of large reads
sleeps and wakes for every two of them."""
IOV_MAX = 1000
"""Most buffers in one sendmsg (POSIX IOV_MAX is 1024 on Linux)."""
TLS_WRITE_BYTES = 1024 * 1024
"""Bytes that are joined for one write on a TLS socket."""
TLS_PIECE_BYTES = 64 * 1024
"""Bytes of a large reply that are written to a TLS socket between two checks of its time limit."""
CHECK_S = 0.1
"""Seconds between two checks of a thread that waits to send, or for memory."""

Receive = Callable[[memoryview], int]
Send = Callable[[list[Bytes]], None]


def anonymous_memory(size: int) -> mmap.mmap:
    """Return zeroed memory; a page takes memory only after it is written."""
    return mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


def set_timeout(sock: socket.socket, option: int, seconds: float) -> None:
    """Set SO_RCVTIMEO or SO_SNDTIMEO: a time limit that needs no poll() before each call."""
    whole = int(seconds)
    value = struct.pack("ll", whole, int((seconds - whole) * 1_000_000))
    sock.setsockopt(socket.SOL_SOCKET, option, value)


def is_tls(sock: socket.socket) -> TypeGuard[ssl.SSLSocket]:
    """Return whether a socket is encrypted. Does not load the slow module ssl."""
    return hasattr(sock, "pending")


def prepare(sock: socket.socket, idle_s: float, stall_s: float) -> None:
    """Set the time limits of an active connection, for receiving and for sending."""
    if is_tls(sock):
        sock.settimeout(stall_s)  # the ssl module does not see SO_RCVTIMEO
        return
    sock.settimeout(None)
    set_timeout(sock, socket.SO_RCVTIMEO, idle_s)
    set_timeout(sock, socket.SO_SNDTIMEO, stall_s)
    if sock.family == socket.AF_UNIX:  # TCP finds its own size
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER)


def receiver(sock: socket.socket, idle_s: float, active: Sized) -> Receive:
    """Return a function that receives into a buffer, or raises BlockingIOError after ``idle_s``.

    A client with one request in flight sends the next within microseconds of a reply. Sleeping and
    waking costs both processors more than a short spin (measured: 4 KiB at queue depth 1, twice the
    requests at the same CPU time for each). Like KVM's halt polling, the function spins only if
    that succeeded recently. It does not spin while other connections are ``active``, because they
    need the interpreter.
    """
    if is_tls(sock):
        return _tls_receiver(sock, idle_s)
    receive = sock.recv_into
    dont_wait = socket.MSG_DONTWAIT
    spins, sleeps = SPINS, 0

    def spin_then_wait(view: memoryview) -> int:
        nonlocal spins, sleeps
        try:
            return receive(view, 0, dont_wait)
        except BlockingIOError:
            pass
        if len(active) <= 1:
            for _ in range(spins):
                try:
                    received = receive(view, 0, dont_wait)
                except BlockingIOError:
                    continue
                spins = SPINS
                return received
            sleeps += 1
            spins = spins // 2 if sleeps % SPIN_RETRY else SPINS
        return receive(view)

    return spin_then_wait


def _tls_receiver(sock: ssl.SSLSocket, idle_s: float) -> Receive:
    poll = select.poll()
    poll.register(sock, select.POLLIN)

    def wait_then_receive(view: memoryview) -> int:
        if not sock.pending() and not poll.poll(idle_s * 1000):
            raise BlockingIOError
        return sock.recv_into(view)

    return wait_then_receive


def sender(sock: socket.socket) -> Send:
    """Return a function that sends all of a list of buffers."""
    if is_tls(sock):
        return lambda out: _send_tls(sock, out)
    return lambda out: _send_gathered(sock, out)


def _send_gathered(sock: socket.socket, out: list[Bytes]) -> None:
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
        if len(joined) >= TLS_WRITE_BYTES:
            sock.sendall(joined)
            joined = bytearray()
    if joined:
        sock.sendall(joined)


def send_while(
    sock: socket.socket, out: list[Bytes], stall_s: float, too_slow: Callable[[], bool]
) -> None:
    """Send all of a list of buffers within a time limit.

    ``sender`` limits only the time without progress, not the total time.

    :raise TimeoutError: the peer took nothing for ``stall_s``, or ``too_slow()`` returned True.
    """
    if is_tls(sock):
        for buffer in out:
            view = memoryview(buffer)
            for start in range(0, len(view), TLS_PIECE_BYTES):
                sock.sendall(view[start : start + TLS_PIECE_BYTES])
                _check_speed(too_slow)
        return
    poll = select.poll()
    poll.register(sock, select.POLLOUT)
    buffers, progress = out, time.monotonic()
    while buffers:
        try:
            sent = sock.sendmsg(buffers[:IOV_MAX], [], socket.MSG_DONTWAIT)
        except BlockingIOError:
            if not poll.poll(CHECK_S * 1000) and time.monotonic() - progress > stall_s:
                msg = f"the client took nothing for {stall_s} s"
                raise TimeoutError(msg) from None
        else:
            buffers, progress = _unsent(buffers, sent), time.monotonic()
        if buffers:
            _check_speed(too_slow)


def _check_speed(too_slow: Callable[[], bool]) -> None:
    if too_slow():
        msg = "the client takes its reply too slowly"
        raise TimeoutError(msg)


def is_gone(sock: socket.socket) -> bool:
    """Return whether a connection is broken, or closed in both directions."""
    poll = select.poll()
    try:
        poll.register(sock, 0)  # POLLERR and POLLHUP are always reported
        return bool(poll.poll(0))
    except (OSError, ValueError):
        return True


def close(sock: socket.socket) -> None:
    """Close; on TLS send close_notify first and do not wait for the answer ("NBD_CMD_DISC")."""
    try:
        if is_tls(sock):
            sock.setblocking(False)
            sock.unwrap()
    except (OSError, ValueError):
        pass  # the peer has left, or its answer has not arrived yet
    finally:
        sock.close()


class MemoryBudget:
    """A limit on the memory of large requests of all clients together.

    Requests get memory in the order in which they ask, so that small ones do not starve a large
    one. A thread that waits here must not hold a part of the budget or unsent replies. So a thread
    never waits for itself, and threads never wait for each other in a circle.

    :param limit: bytes. A larger request gets the whole limit, alone.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self._queue: deque[object] = deque()
        self._changed = threading.Condition()

    @property
    def waiting(self) -> int:
        """Return how many requests wait."""
        return len(self._queue)

    def take(
        self, length: int, patience_s: float, is_abandoned: Callable[[], bool] | None = None
    ) -> int:
        """Wait for memory and return how many bytes to give back later.

        :param is_abandoned: called while waiting; returns whether no client waits for the reply.
        :raise TimeoutError: not enough memory became free in ``patience_s`` seconds.
        :raise ConnectionAbortedError: ``is_abandoned()`` returned True.
        """
        length = min(length, self.limit)
        ticket = object()
        deadline = time.monotonic() + patience_s
        with self._changed:
            self._queue.append(ticket)
            try:
                while self._queue[0] is not ticket or self.used + length > self.limit:
                    self._changed.wait(CHECK_S)
                    if time.monotonic() > deadline:
                        msg = f"no memory for {length} bytes in {patience_s:g} s"
                        raise TimeoutError(msg)
                    if is_abandoned is not None and is_abandoned():
                        msg = "the client left while its request waited for memory"
                        raise ConnectionAbortedError(msg)
                self.used += length
            finally:
                self._queue.remove(ticket)
                self._changed.notify_all()
        return length

    def give_back(self, length: int) -> None:
        """Give back the number of bytes that ``take`` returned."""
        with self._changed:
            self.used -= length
            self._changed.notify_all()
