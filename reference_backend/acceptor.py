"""Accept clients, and serve those that need no thread: clients in the handshake and idle ones.

One epoll loop in one thread. Each socket is armed for one event at a time (EPOLLONESHOT). So a
connection that runs in its own thread cannot wake the loop. It returns to the loop when any thread
arms it again.
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections import deque
from collections.abc import Callable
from typing import TYPE_CHECKING

from reference_backend.nbd.negotiation import Phase
from reference_backend.session import Connection
from reference_backend.transport import is_tls

if TYPE_CHECKING:
    import ssl

READABLE = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
WRITABLE = select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLONESHOT
_ACCEPTS = 64
"""Most connections accepted in a row before other events are handled."""
_RECEIVE_SIZE = 4096


class Acceptor:
    """The epoll loop.

    All functions are called in the thread of the loop.

    :param listening: the listening socket.
    :param tls: the context for clients that send STARTTLS.
    :param admit: makes a connection from a socket, or closes the socket and returns None.
    :param enter: called when the handshake of a connection is complete.
    :param activate: called when an idle connection is readable.
    :param end: called when a connection must be closed.
    """

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext | None,
        *,
        handshake_s: float,
        admit: Callable[[socket.socket], Connection | None],
        enter: Callable[[Connection], None],
        activate: Callable[[Connection], None],
        end: Callable[[Connection], None],
    ) -> None:
        self._listening = listening
        self._tls = tls
        self._want_read, self._want_write = _not_now(with_tls=tls is not None)
        self._handshake_s = handshake_s
        self._admit = admit
        self._enter = enter
        self._activate = activate
        self._end = end
        self._by_fd: dict[int, Connection] = {}
        self._handshakes: deque[Connection] = deque()
        self._stopping = False
        listening.setblocking(False)
        self._epoll = select.epoll()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._epoll.register(listening, select.EPOLLIN)
        self._epoll.register(self._wake_reader, select.EPOLLIN)

    def run(self) -> None:
        """Loop until ``stop``."""
        accepting = self._listening.fileno()
        while not self._stopping:
            for fd, _event in self._epoll.poll(self._patience_s()):
                if fd == accepting:
                    self._accept()
                    continue
                connection = self._by_fd.get(fd)
                if connection is not None:
                    self._guarded(connection, self._ready)
            self._expire()

    def stop(self) -> None:
        """Make ``run`` return. May be called from any thread or from a signal handler."""
        self._stopping = True
        with contextlib.suppress(OSError):
            self._wake_writer.send(b"x")

    def close(self) -> None:
        """Close the descriptors of the loop, after ``run`` returned."""
        self._epoll.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def arm(self, connection: Connection, events: int = READABLE) -> None:
        """Watch a connection again.

        :raise OSError: it was closed meanwhile. :raise ValueError: likewise.
        """
        self._epoll.modify(connection.sock, events)

    def forget(self, connection: Connection) -> None:
        """Forget a connection that is about to be closed."""
        if self._by_fd.get(connection.fd) is connection:
            del self._by_fd[connection.fd]

    # -- time

    def _patience_s(self) -> float:
        if not self._handshakes:
            return 60.0
        return max(0.01, self._handshakes[0].deadline - time.monotonic())

    def _expire(self) -> None:
        """End handshakes that took too long. All have the same limit, so the oldest is first."""
        now = time.monotonic()
        while self._handshakes:
            connection = self._handshakes[0]
            over = connection.transmission is not None or connection.sock.fileno() < 0
            if not over and connection.deadline > now:
                return
            self._handshakes.popleft()
            if not over:
                self._end(connection)

    # -- new connections

    def _accept(self) -> None:
        for _ in range(_ACCEPTS):
            try:
                sock, _peer = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:
                time.sleep(0.01)  # out of descriptors: do not spin
                return
            try:
                connection = self._admit(sock)
            except Exception:  # ends this client only, like any failure in _guarded
                sock.close()
                continue
            if connection is not None:
                self._guarded(connection, self._greet)

    def _greet(self, connection: Connection) -> None:
        connection.deadline = time.monotonic() + self._handshake_s
        self._handshakes.append(connection)
        self._by_fd[connection.fd] = connection
        self._epoll.register(connection.sock, READABLE)
        connection.unsent = connection.negotiation.greeting()
        self._flush(connection)

    def _guarded(self, connection: Connection, action: Callable[[Connection], None]) -> None:
        """Run an action for one client; any failure ends only that client."""
        try:
            action(connection)
        except Exception:  # also defects of the server: they must not affect other clients
            self._end(connection)

    # -- handshakes

    def _ready(self, connection: Connection) -> None:
        if connection.transmission is not None:
            self._activate(connection)
        elif connection.unsent:
            self._flush(connection)
        elif connection.negotiation.phase is Phase.TLS:
            self._shake_tls(connection)
        else:
            self._negotiate(connection)

    def _negotiate(self, connection: Connection) -> None:
        """Receive bytes of the handshake and answer them."""
        try:
            data = connection.sock.recv(_RECEIVE_SIZE)
        except self._want_read:
            self.arm(connection)
            return
        if not data:
            self._end(connection)
            return
        connection.unsent += connection.negotiation.receive(data)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Send the rest of the handshake's replies; then take the next step."""
        while connection.unsent:
            try:
                sent = connection.sock.send(connection.unsent)
            except self._want_write:
                self.arm(connection, WRITABLE)
                return
            connection.unsent = connection.unsent[sent:]
        phase = connection.negotiation.phase
        encrypted = is_tls(connection.sock)
        if phase is Phase.CLOSED:
            self._end(connection)
        elif phase is Phase.TRANSMISSION:
            self._enter(connection)
        elif phase is Phase.TLS and not encrypted:
            self._wrap(connection)
        elif is_tls(connection.sock) and connection.sock.pending():
            self._negotiate(connection)
        else:
            self.arm(connection)

    def _wrap(self, connection: Connection) -> None:
        """Begin the TLS handshake. Plaintext after STARTTLS has ended the session before this."""
        assert self._tls is not None
        self._epoll.unregister(connection.sock)
        connection.sock = self._tls.wrap_socket(
            connection.sock, server_side=True, do_handshake_on_connect=False
        )
        self._epoll.register(connection.sock, READABLE)

    def _shake_tls(self, connection: Connection) -> None:
        sock = connection.sock
        assert is_tls(sock)
        try:
            sock.do_handshake()
        except self._want_read:
            self.arm(connection)
        except self._want_write:
            self.arm(connection, WRITABLE)
        else:
            connection.negotiation.tls_established()
            self._negotiate(connection)


def _not_now(*, with_tls: bool) -> tuple[tuple[type[OSError], ...], tuple[type[OSError], ...]]:
    """Return the exceptions of a socket that is not readable, and of one that is not writable."""
    if not with_tls:
        return (BlockingIOError,), (BlockingIOError,)
    import ssl

    return (BlockingIOError, ssl.SSLWantReadError), (BlockingIOError, ssl.SSLWantWriteError)
