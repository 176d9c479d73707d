"""The server: accepts, shakes hands in one epoll loop, gives active clients a thread each."""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from reference_backend.layers import Below, Layer, stack
from reference_backend.listener import Address, listen
from reference_backend.nbd.errors import NbdProtocolError
from reference_backend.nbd.negotiation import Phase, ServerNegotiation
from reference_backend.nbd.settings import Device, Exports, Features, Limits, TlsMode
from reference_backend.session import Connection, ConnectionInfo, set_timeout
from reference_backend.store.errors import VolumeNotFound

STACK_SIZE = 512 * 1024
"""Bytes of a connection thread's stack: address space, not memory."""
_ARMED = select.EPOLLIN | select.EPOLLRDHUP | select.EPOLLONESHOT
_WRITING = select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLONESHOT


class FixedExports:
    """Exports from a mapping of names to volumes."""

    def __init__(self, volumes: Mapping[str, Device]) -> None:
        self._volumes = volumes

    def open(self, name: str) -> Device:
        """Return the volume; raise ``VolumeNotFound``."""
        try:
            return self._volumes[name]
        except KeyError:
            raise VolumeNotFound(name) from None

    def list(self) -> Sequence[str]:
        """Return all names."""
        return list(self._volumes)


class Server:
    """An NBD server on one address.

    :param exports: a pool, or a mapping of names to volumes. :param layers: first one on top; each
        sees all requests of all connections. :param tls: a server's context, for ``tls_mode``
        offered or required (offered is assumed when only a context is given).
    :param on_connect: called when a client enters the transmission phase. :param on_disconnect:
        called when such a client is gone. Both from the server's threads.
    """

    def __init__(
        self,
        exports: Exports | Mapping[str, Device],
        address: Address,
        *,
        layers: Sequence[Layer] = (),
        features: Features | None = None,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        tls_mode: TlsMode | None = None,
        read_only: bool = False,
        on_connect: Callable[[ConnectionInfo], None] | None = None,
        on_disconnect: Callable[[ConnectionInfo], None] | None = None,
    ) -> None:
        self._exports = FixedExports(exports) if isinstance(exports, Mapping) else exports
        self._address = address
        self.layers = list(layers)
        self._features = features or Features()
        self._limits = limits or Limits()
        self._tls = tls
        self._tls_mode = tls_mode or (TlsMode.OFF if tls is None else TlsMode.OFFERED)
        self._read_only = read_only
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self._lock = threading.Lock()
        self._connections: dict[int, Connection] = {}
        self._by_fd: dict[int, Connection] = {}
        self._handshakes: deque[Connection] = deque()
        self._threads: set[threading.Thread] = set()
        self._totals: Counter[str] = Counter()
        self._number = 0
        self._stopping = False
        self._listening: socket.socket | None = None
        self._loop: threading.Thread | None = None

    # -- life

    def start(self) -> None:
        """Listen, and serve in the background.

        :raise OSError: the address cannot be listened on (``listener.AddressInUse`` with a sentence).
        """
        self._listening = listen(self._address)
        self._listening.setblocking(False)
        self._epoll = select.epoll()
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._epoll.register(self._listening, select.EPOLLIN)
        self._epoll.register(self._wake_reader, select.EPOLLIN)
        self._loop = threading.Thread(target=self._run, name="nbd-handshakes", daemon=True)
        self._loop.start()

    def serve_forever(self) -> None:
        """Listen and serve until ``stop()`` is called from elsewhere."""
        if self._loop is None:
            self.start()
        loop = self._loop
        assert loop is not None
        loop.join()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop listening, drop all clients, wait for their threads; remove the Unix socket."""
        if self._loop is None or self._stopping:
            return
        self._stopping = True
        self._wake_writer.send(b"x")
        if threading.current_thread() is not self._loop:
            self._loop.join()
        assert self._listening is not None
        if not isinstance(self._address, tuple):
            with contextlib.suppress(FileNotFoundError):
                Path(self._address).unlink()
        self._listening.close()
        self.disconnect_all(timeout_s)
        self._epoll.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def disconnect_all(self, timeout_s: float = 5.0) -> int:
        """Drop every connection at once, as a power cut does; return how many there were.

        When this returns, no request of theirs is being carried out any more, unless one takes
        longer than ``timeout_s``.
        """
        with self._lock:
            connections = list(self._connections.values())
            threads = list(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        for connection in connections:
            if connection.transmission is None or connection.sock.fileno() in self._by_fd:
                self._end(connection)
        return len(connections)

    @property
    def address(self) -> Address:
        """Where the server listens; with the port that the kernel chose."""
        if isinstance(self._address, tuple) and self._listening is not None:
            host, port = self._listening.getsockname()[:2]
            return host, port
        return self._address

    # -- what control asks

    def query_requests(self) -> list[dict[str, object]]:
        """Return requests in flight: connection, command, offset, length, cookie."""
        with self._lock:
            connections = list(self._connections.values())
        return [request for connection in connections for request in connection.in_flight()]

    def statistics(self) -> dict[str, int]:
        """Return counts since start: per command requests and bytes, errors, connections."""
        with self._lock:
            totals = Counter(self._totals)
            for connection in self._connections.values():
                if connection.transmission is not None:
                    totals.update(connection.transmission.executor.counts)
            totals["connections"] = len(self._connections)
            totals["connections_total"] = self._number
        return dict(totals)

    def connections(self) -> list[ConnectionInfo]:
        """Return the connections in the transmission phase."""
        with self._lock:
            connections = list(self._connections.values())
        return [each.info() for each in connections if each.transmission is not None]

    # -- the epoll loop

    def _run(self) -> None:
        assert self._listening is not None
        accepting = self._listening.fileno()
        while not self._stopping:
            for fd, _event in self._epoll.poll(self._patience_s()):
                if fd == accepting:
                    self._accept()
                elif fd in self._by_fd:
                    self._ready(self._by_fd[fd])
            self._expire()

    def _patience_s(self) -> float:
        if not self._handshakes:
            return 60.0
        return max(0.01, self._handshakes[0].deadline - time.monotonic())

    def _expire(self) -> None:
        """End handshakes that took too long. All have the same time, so the oldest is first."""
        now = time.monotonic()
        while self._handshakes and (
            self._handshakes[0].transmission is not None or self._handshakes[0].deadline <= now
        ):
            connection = self._handshakes.popleft()
            if connection.transmission is None:
                self._end(connection)

    def _accept(self) -> None:
        assert self._listening is not None
        for _ in range(64):
            try:
                sock, _peer = self._listening.accept()
            except BlockingIOError:
                return
            except OSError:
                time.sleep(0.01)  # out of descriptors: do not spin
                return
            if len(self._connections) >= self._limits.connections:
                sock.close()
                continue
            self._greet(sock)

    def _greet(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        negotiation = ServerNegotiation(
            self._exports, self._features, self._limits, self._tls_mode, read_only=self._read_only
        )
        with self._lock:
            self._number += 1
            connection = Connection(self._number, sock, negotiation)
            self._connections[connection.number] = connection
        connection.deadline = time.monotonic() + self._limits.handshake_s
        self._handshakes.append(connection)
        self._by_fd[sock.fileno()] = connection
        self._epoll.register(sock, _ARMED)
        connection.pending_out = negotiation.greeting()
        self._guarded(connection, self._flush)

    def _ready(self, connection: Connection) -> None:
        if connection.transmission is not None:
            self._activate(connection)
        elif connection.pending_out:
            self._guarded(connection, self._flush)
        else:
            self._guarded(connection, self._negotiate)

    def _guarded(self, connection: Connection, action: Callable[[Connection], None]) -> None:
        """Do something for one client; whatever goes wrong ends that client only."""
        try:
            action(connection)
        except Exception:
            self._end(connection)

    def _negotiate(self, connection: Connection) -> None:
        negotiation = connection.negotiation
        if negotiation.phase is Phase.TLS:
            self._shake_tls(connection)
            return
        try:
            data = connection.sock.recv(4096)
        except (BlockingIOError, ssl.SSLWantReadError):
            self._arm(connection)
            return
        if not data:
            self._end(connection)
            return
        connection.pending_out += negotiation.receive(data)
        self._flush(connection)

    def _flush(self, connection: Connection) -> None:
        """Send what the handshake has to say; go on when it is said."""
        while connection.pending_out:
            try:
                sent = connection.sock.send(connection.pending_out)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._arm(connection, _WRITING)
                return
            connection.pending_out = connection.pending_out[sent:]
        phase = connection.negotiation.phase
        if phase is Phase.CLOSED:
            self._end(connection)
        elif phase is Phase.TRANSMISSION:
            self._enter(connection)
        elif phase is Phase.TLS and not isinstance(connection.sock, ssl.SSLSocket):
            self._wrap(connection)
        elif isinstance(connection.sock, ssl.SSLSocket) and connection.sock.pending():
            self._negotiate(connection)
        else:
            self._arm(connection)

    def _wrap(self, connection: Connection) -> None:
        assert self._tls is not None
        self._epoll.unregister(connection.sock)
        connection.sock = self._tls.wrap_socket(
            connection.sock, server_side=True, do_handshake_on_connect=False
        )
        self._epoll.register(connection.sock, _ARMED)

    def _shake_tls(self, connection: Connection) -> None:
        sock = connection.sock
        assert isinstance(sock, ssl.SSLSocket)
        try:
            sock.do_handshake()
        except ssl.SSLWantReadError:
            self._arm(connection)
        except ssl.SSLWantWriteError:
            self._arm(connection, _WRITING)
        else:
            connection.negotiation.tls_established()
            self._negotiate(connection)

    def _arm(self, connection: Connection, events: int = _ARMED) -> None:
        self._epoll.modify(connection.sock, events)

    # -- the transmission phase

    def _enter(self, connection: Connection) -> None:
        layered: Callable[[Below], Below] | None = None
        if self.layers:
            layers = self.layers
            layered = lambda bottom: stack(layers, bottom)  # noqa: E731
        connection.begin(self._features, self._limits, layered)
        if self._on_connect is not None:
            self._on_connect(connection.info())
        self._activate(connection)

    def _activate(self, connection: Connection) -> None:
        """Give a client a thread."""
        threading.stack_size(STACK_SIZE)
        thread = threading.Thread(
            target=self._serve, args=(connection,), name=f"nbd-{connection.number}", daemon=True
        )
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _serve(self, connection: Connection) -> None:
        quiet = False
        try:
            quiet = connection.serve()
            if quiet:
                self._arm(connection)
        except (OSError, NbdProtocolError, ValueError):
            quiet = False
        finally:
            with self._lock:
                self._threads.discard(threading.current_thread())
            if not quiet:
                self._end(connection)

    def _end(self, connection: Connection) -> None:
        """Close one client's connection; safe to call twice."""
        with self._lock:
            known = self._connections.pop(connection.number, None)
            if known is None:
                return
            fd = connection.sock.fileno()
            if self._by_fd.get(fd) is connection:
                del self._by_fd[fd]
            if connection.transmission is not None:
                self._totals.update(connection.transmission.executor.counts)
        info = connection.info()
        with contextlib.suppress(OSError):
            connection.sock.close()
        if connection.transmission is not None and self._on_disconnect is not None:
            self._on_disconnect(info)


__all__ = ["ConnectionInfo", "FixedExports", "Server", "set_timeout"]
