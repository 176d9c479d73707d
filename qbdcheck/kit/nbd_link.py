"""A link between clients and a target's NBD server, which a case can cut, freeze and slow down.

The link does not interpret NBD: it forwards bytes, or does not. Bytes that it does not forward wait
in its memory, as in the buffers of a network.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from urllib.parse import quote

from qbdcheck.clock import pause
from qbdcheck.errors import NotRun
from qbdcheck.targets.lifecycle import Backend
from reference_backend.client import parse_uri

PIECE = 64 << 10
"""Bytes that are forwarded at once."""


class _Wire:
    """One connection: a socket to each side, and a thread for each direction."""

    def __init__(self, link: Link, client: socket.socket, target: socket.socket) -> None:
        self.client = client
        self.target = target
        self.passes = threading.Event()
        self.passes.set()
        self.half_open = False
        self._link = link
        self._threads = [
            threading.Thread(target=self._pump, args=pair, daemon=True)
            for pair in ((client, target), (target, client))
        ]

    def start(self) -> None:
        """Start to forward bytes."""
        for thread in self._threads:
            thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(PIECE):
                if self._link.bytes_per_s:
                    pause(len(piece) / self._link.bytes_per_s)
                self.passes.wait()
                sink.sendall(piece)
        self.passes.wait()
        if not self.half_open:
            self.cut()

    def cut(self) -> None:
        """Shut down both sockets."""
        for sock in (self.client, self.target):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    def cut_client_side(self) -> None:
        """Shut down the client's socket alone."""
        self.half_open = True
        with contextlib.suppress(OSError):
            self.client.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Shut down both sockets and end the threads."""
        self.cut()
        self.passes.set()
        for thread in self._threads:
            with contextlib.suppress(RuntimeError):  # not started yet
                thread.join(5.0)
        self.client.close()
        self.target.close()


class Link:
    """A link in front of one backend; `disk.blockdev()` and `disk.uri` go through it.

    :param listener: a listening TCP socket for the clients, such as one of another network
        namespace; by default a Unix socket in the directory of the target's socket.
    :raise NotRun: the target has no NBD server.
    """

    def __init__(self, backend: Backend, listener: socket.socket | None = None) -> None:
        uri = backend.uri
        if uri is None:
            raise NotRun(
                f"target {backend.description.name} has no NBD server to put a link in front of"
            )
        self._target, export, _secure = parse_uri(uri)
        self._backend = backend
        self._wires: list[_Wire] = []
        self._refuses = False
        self._frozen = False
        self.bytes_per_s: float | None = None
        """Bytes per second of each direction of each connection; None: no limit."""
        self.accepted = 0
        """Number of connections so far, refused ones included."""
        self._listener = listener or self._listen_beside(backend)
        backend.front = self._front(export)
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    @staticmethod
    def _listen_beside(backend: Backend) -> socket.socket:
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(str(backend.directory / "l"))
        listener.listen(64)
        return listener

    def _front(self, export: str) -> tuple[dict[str, object], str]:
        name = self._listener.getsockname()
        if isinstance(name, tuple):
            host, port = name[:2]
            server = {"type": "inet", "host": host, "port": str(port)}
            uri = f"nbd://{host}:{port}/{quote(export, safe='')}"
        else:
            server = {"type": "unix", "path": name}
            uri = f"nbd+unix:///{quote(export, safe='')}?socket={quote(name)}"
        return {"driver": "nbd", "server": server, "export": export}, uri

    # What a case does ----------------------------------------------------------------------------

    def cut(self) -> None:
        """End all connections on both sides; accept new ones."""
        for wire in tuple(self._wires):
            wire.cut()

    def cut_client_side(self) -> None:
        """End all connections on the clients' side alone: the target's side stays half-open."""
        for wire in tuple(self._wires):
            wire.cut_client_side()

    def refuse(self) -> None:
        """Close each new connection at once."""
        self._refuses = True

    def allow(self) -> None:
        """Accept new connections again."""
        self._refuses = False

    def freeze(self, *, new: bool = False) -> None:
        """Forward nothing, as when packets are lost; connections stay open.

        :param new: also freeze connections that are made from now on.
        """
        self._frozen = new
        for wire in tuple(self._wires):
            wire.passes.clear()

    def thaw(self) -> None:
        """Forward bytes again, first those that have waited."""
        self._frozen = False
        for wire in tuple(self._wires):
            wire.passes.set()

    def close(self) -> None:
        """End all connections; clients reach the backend directly again."""
        self._backend.front = None
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5.0)
        for wire in self._wires:
            wire.close()

    # Inside --------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                client, _address = self._listener.accept()
            except OSError:
                return
            self.accepted += 1
            try:
                if self._refuses:
                    raise ConnectionRefusedError
                target = self._connect()
            except OSError:
                client.close()
                continue
            wire = _Wire(self, client, target)
            if self._frozen:
                wire.passes.clear()
            self._wires.append(wire)  # before the first byte, so that a cut finds it
            wire.start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, tuple):
            return socket.create_connection(self._target, 5.0)
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.connect(str(self._target))
        except OSError:
            sock.close()
            raise
        return sock
