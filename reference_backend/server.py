"""The NBD server: one acceptor thread, and one thread for each active client."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from blockio.errors import VolumeNotFound
from blockio.layers import Layer
from reference_backend import transport
from reference_backend.acceptor import Acceptor
from reference_backend.allocator import keep_freed_memory
from reference_backend.listener import Address, listen
from reference_backend.nbd.errors import NbdProtocolError
from reference_backend.nbd.negotiation import ServerNegotiation
from reference_backend.nbd.settings import Device, Exports, Features, Limits, TlsMode
from reference_backend.session import Connection, ConnectionInfo, Service

if TYPE_CHECKING:
    import ssl

__all__ = ["ConnectionInfo", "FixedExports", "Server"]

STACK_SIZE = 512 * 1024
"""Bytes of a connection thread's stack: address space, few pages of it are used."""


class FixedExports:
    """Exports from a mapping of names to volumes."""

    def __init__(self, volumes: Mapping[str, Device]) -> None:
        self._volumes = volumes

    def open(self, name: str) -> Device:
        """Return the volume.

        :raise VolumeNotFound: no volume has that name.
        """
        try:
            return self._volumes[name]
        except KeyError:
            msg = f"no volume named {name!r}"
            raise VolumeNotFound(msg) from None

    def list(self) -> Sequence[str]:
        """Return all names."""
        return list(self._volumes)


class Server:
    """An NBD server on one address.

    :param exports: a pool, or a mapping of names to volumes.
    :param address: a Unix socket's path, or (host, port).
    :param layers: the first one is on top; each sees all requests of all connections.
    :param tls: a server context.
    :param tls_mode: whether TLS is offered (the default if ``tls`` is given) or required.
    :param on_connect: called when a client enters the transmission phase.
    :param on_disconnect: called when such a client has left. Both are called in server threads.
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
        self._features = features or Features()
        self._limits = limits or Limits()
        self._tls = tls
        self._tls_mode = tls_mode or (TlsMode.OFF if tls is None else TlsMode.OFFERED)
        self._read_only = read_only
        self._on_connect = on_connect
        self._on_disconnect = on_disconnect
        self.layers = tuple(layers)
        budget = transport.MemoryBudget(self._limits.memory)
        self._lock = threading.Lock()
        self._connections: dict[int, Connection] = {}
        self._threads: dict[threading.Thread, Connection] = {}
        self._service = Service(self._features, self._limits, budget, self.layers, self._threads)
        self._totals: Counter[str] = Counter()
        self._number = 0
        self._listening: socket.socket | None = None
        self._acceptor: Acceptor | None = None
        self._loop: threading.Thread | None = None
        self._stopped = False

    # -- start and stop

    def start(self) -> None:
        """Listen, and serve in the background.

        :raise OSError: the address cannot be listened on; ``listener.AddressInUse`` if it is taken.
        """
        keep_freed_memory()
        _raise_descriptor_limit()
        self._listening = listen(self._address)
        self._acceptor = Acceptor(
            self._listening,
            self._tls,
            handshake_s=self._limits.handshake_s,
            admit=self._admit,
            enter=self._enter,
            activate=self._activate,
            end=self._end,
        )
        self._loop = threading.Thread(target=self._acceptor.run, name="nbd-acceptor", daemon=True)
        self._loop.start()

    def serve_forever(self) -> None:
        """Serve until another thread or a signal handler calls ``stop()``."""
        if self._loop is None:
            self.start()
        assert self._loop is not None
        self._loop.join()

    def stop(self, timeout_s: float = 5.0) -> None:
        """Stop listening, disconnect all clients, join their threads, remove the Unix socket."""
        if self._stopped or self._acceptor is None or self._loop is None or self._listening is None:
            return
        self._stopped = True
        self._acceptor.stop()
        self._loop.join()
        if not isinstance(self._address, tuple):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._address)  # noqa: PTH108  # pathlib is slow to load
        self._listening.close()
        self.disconnect_all(timeout_s)
        self._acceptor.close()

    def disconnect_all(self, timeout_s: float = 5.0) -> int:
        """Disconnect all clients at once, like a power cut; return how many there were.

        When this returns, none of their requests is being executed, unless one takes longer than
        ``timeout_s``.
        """
        with self._lock:
            connections = list(self._connections.values())
            threads = dict(self._threads)
        for connection in connections:
            with contextlib.suppress(OSError):
                connection.sock.shutdown(socket.SHUT_RDWR)
        deadline = time.monotonic() + timeout_s
        for thread in threads:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        for connection in connections:
            connection.abandon_blocking()
            connection.join_blocking(max(0.0, deadline - time.monotonic()))
        served = {connection.number for connection in threads.values()}
        for connection in connections:
            if connection.number not in served:
                self._end(connection)
        return len(connections)

    @property
    def address(self) -> Address:
        """Return the listening address, with the port that the kernel chose."""
        if isinstance(self._address, tuple) and self._listening is not None:
            host, port = self._listening.getsockname()[:2]
            return host, port
        return self._address

    # -- queries of the control socket

    def query_requests(self) -> list[dict[str, object]]:
        """Return requests in flight: connection, command, offset, length, cookie."""
        with self._lock:
            connections = list(self._connections.values())
        return [request for connection in connections for request in connection.in_flight()]

    def statistics(self) -> dict[str, int]:
        """Return counts since start: requests and bytes of each command, errors, connections."""
        with self._lock:
            totals = Counter(self._totals)
            for connection in self._connections.values():
                totals.update(connection.counts())
            totals["connections"] = len(self._connections)
            totals["connections_total"] = self._number
        return dict(totals)

    def connections(self) -> list[ConnectionInfo]:
        """Return the connections in the transmission phase."""
        with self._lock:
            connections = list(self._connections.values())
        return [each.info() for each in connections if each.transmission is not None]

    # -- connections; called in the acceptor's thread and in the connections' threads

    def _admit(self, sock: socket.socket) -> Connection | None:
        if len(self._connections) >= self._limits.connections:
            sock.close()
            return None
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
        return connection

    def _enter(self, connection: Connection) -> None:
        connection.begin(self._service)
        with self._lock:
            connection.is_announced = connection.number in self._connections
        if not connection.is_announced:
            return  # disconnect_all() ended it just now
        if self._on_connect is not None:
            self._on_connect(connection.info())
        if connection.has_bytes():
            self._activate(connection)
        elif self._acceptor is not None:
            self._acceptor.arm(connection)

    def _activate(self, connection: Connection) -> None:
        """Start a thread for a client."""
        before = threading.stack_size(STACK_SIZE)
        thread = threading.Thread(
            target=self._serve, args=(connection,), name=f"nbd-{connection.number}", daemon=True
        )
        try:
            with self._lock:  # a thread in the table must be started: it may be joined
                thread.start()  # RuntimeError (no more threads) ends this client only
                self._threads[thread] = connection
        finally:
            threading.stack_size(before)

    def _serve(self, connection: Connection) -> None:
        """Run in the client's thread."""
        quiet = False
        try:
            with contextlib.suppress(OSError, ValueError, NbdProtocolError, MemoryError):
                quiet = connection.serve()
        finally:
            with self._lock:
                del self._threads[threading.current_thread()]
            if not quiet or not self._park(connection):
                self._end(connection)

    def _park(self, connection: Connection) -> bool:
        """Give an idle client back to the acceptor; return False if its socket was closed."""
        if self._acceptor is None:
            return False
        try:
            self._acceptor.arm(connection)
        except (OSError, ValueError):
            return False
        return True

    def _end(self, connection: Connection) -> None:
        """Close one client's connection; safe to call twice.

        If a step fails, the other steps are still done, and threading.excepthook reports the error.
        """
        with self._lock:
            if self._connections.pop(connection.number, None) is None:
                return
            if self._acceptor is not None:
                self._acceptor.forget(connection)
            self._totals.update(connection.counts())
        try:
            with contextlib.ExitStack() as cleanup:  # the last callback runs first
                if connection.is_announced and self._on_disconnect is not None:
                    cleanup.callback(self._on_disconnect, connection.info())
                cleanup.callback(transport.close, connection.sock)
                connection.abandon_blocking()
        except Exception as error:  # must not end the thread: it may serve other clients
            thread = threading.current_thread()
            what = (type(error), error, error.__traceback__, thread)
            threading.excepthook(threading.ExceptHookArgs(what))


def _raise_descriptor_limit() -> None:
    """Raise the limit of open files to the system's maximum: each client needs one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
