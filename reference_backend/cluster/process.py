"""A node as a process: one thread with the state machines, and links to the other nodes.

A link is a Unix socket in one direction: each node connects to the two others to send, and accepts
two connections to receive. So a relay in one link is a partition in one direction.
"""

from __future__ import annotations

import selectors
import socket
import threading
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from reference_backend.cluster import messages as m
from reference_backend.cluster.codec import decode, encode
from reference_backend.cluster.gateway import Gateway
from reference_backend.cluster.node import Node

_UNSENT_MAX = 16 << 20
"""Bytes of a link that wait; beyond that messages are dropped, and sent again later."""
_RECEIVE_BYTES = 1 << 18


class _Outgoing:
    """The link to one node: connects again and again, and drops what it cannot send."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock: socket.socket | None = None
        self._unsent = bytearray()

    def send(self, line: bytes) -> None:
        """Send a message, or drop it."""
        if self._sock is not None and len(self._unsent) < _UNSENT_MAX:
            self._unsent += line
            self.flush()

    def flush(self) -> None:
        """Connect if necessary, and send what waits."""
        if self._sock is None:
            self._connect()
        try:
            while self._sock is not None and self._unsent:
                del self._unsent[: self._sock.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self.close()

    def close(self) -> None:
        """Disconnect."""
        if self._sock is not None:
            self._sock.close()
        self._sock = None
        self._unsent.clear()

    def _connect(self) -> None:
        sock = socket.socket(socket.AF_UNIX)
        try:
            sock.setblocking(False)
            sock.connect(self._path)
        except OSError:
            sock.close()
        else:
            self._sock = sock


class NodeProcess:
    """Runs a node and the gateway of this process in a thread of its own.

    :param node: which is only used by this thread from `start` on.
    :param address: the Unix socket for the other nodes; ``peers``: theirs, by number.
    :param clock: returns the seconds of the protocol.
    :param on_leads: called with the epoch when the node becomes the leader.
    """

    def __init__(
        self,
        node: Node,
        gateway: Gateway,
        address: str,
        peers: Mapping[int, str],
        *,
        clock: Callable[[], float],
        on_leads: Callable[[int], None] = lambda _epoch: None,
    ) -> None:
        self._clock = clock
        self._on_leads = on_leads
        self._led = 0
        self._node = node
        self._gateway = gateway
        self._links = {one: _Outgoing(path) for one, path in peers.items()}
        self._address = address
        self._selector = selectors.DefaultSelector()
        self._received: dict[socket.socket, bytearray] = {}
        self._wake, self._woken = socket.socketpair()
        self._submitted: deque[tuple[tuple[str, int, int, bytes], Callable[[bytes | None], None]]]
        self._submitted = deque()
        self._waiting: dict[int, Callable[[bytes | None], None]] = {}
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="cluster", daemon=True)

    def start(self) -> None:
        """Listen, and start the thread.

        :raise OSError: the address cannot be used.
        """
        Path(self._address).unlink(missing_ok=True)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._address)
        Path(self._address).chmod(0o600)
        self._listener.listen()
        for one in (self._listener, self._woken):
            one.setblocking(False)
            self._selector.register(one, selectors.EVENT_READ)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, and fail what is under way."""
        self._is_over = True
        self._wake.send(b"x")
        self._thread.join()
        for done in self._waiting.values():
            done(None)

    def submit(
        self, kind: str, granule: int, start: int, data: bytes, done: Callable[[bytes | None], None]
    ) -> None:
        """Start a request from any thread; ``done(data)`` is called with None if it fails."""
        self._submitted.append(((kind, granule, start, data), done))
        with suppress(BlockingIOError):
            self._wake.send(b"x")

    def _run(self) -> None:
        next_tick = self._clock()
        while not self._is_over:
            for key, _ in self._selector.select(max(0.001, next_tick - self._clock())):
                assert isinstance(key.fileobj, socket.socket)
                self._readable(key.fileobj)
            now = self._clock()
            while self._submitted:
                (kind, granule, start, data), done = self._submitted.popleft()
                number = self._gateway.submit(kind, now, granule, start, data)
                self._waiting[number] = done
            if now >= next_tick:
                next_tick = now + m.TICK_S
                for link in self._links.values():
                    link.flush()
                self._node.tick(now)
                self._gateway.tick(now)
            self._post()
        for one in (self._listener, self._wake, self._woken, *self._received):
            one.close()
        for link in self._links.values():
            link.close()
        self._selector.close()

    def _readable(self, sock: socket.socket) -> None:
        if sock is self._listener:
            connection, _ = sock.accept()
            connection.setblocking(False)
            self._received[connection] = bytearray()
            self._selector.register(connection, selectors.EVENT_READ)
            return
        try:
            data = sock.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if sock is self._woken:
            return
        if not data:
            self._forget(sock)
            return
        received = self._received[sock]
        received += data
        *lines, rest = received.split(b"\n") if b"\n" in data else [received]
        self._received[sock] = bytearray(rest)
        for line in lines:
            try:
                sender, message = decode(bytes(line))
            except ValueError:
                self._forget(sock)
                return
            self._deliver(sender, message)

    def _forget(self, sock: socket.socket) -> None:
        self._selector.unregister(sock)
        self._received.pop(sock, None)
        sock.close()

    def _deliver(self, sender: int, message: m.Message) -> None:
        now = self._clock()
        if isinstance(message, m.Reply | m.NotLeader):
            self._gateway.receive(message, now)
        else:
            self._node.receive(sender, message, now)

    def _post(self) -> None:
        """Send what waits in the outboxes; a message to this node is handled at once."""
        if self._node.leader is not None and self._led != self._node.epoch:
            self._led = self._node.epoch
            self._on_leads(self._led)
        while self._node.outbox or self._gateway.outbox:
            messages = [*self._node.outbox, *self._gateway.outbox]
            self._node.outbox.clear()
            self._gateway.outbox.clear()
            for receiver, message in messages:
                if receiver == self._node.me:
                    self._deliver(self._node.me, message)
                else:
                    self._links[receiver].send(encode(self._node.me, message))
        for number, data in self._gateway.done:
            self._waiting.pop(number)(data)
        self._gateway.done.clear()
