"""A link between two nodes that a case can cut: a relay of one Unix socket to another."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from pathlib import Path

from qbdcheck.clock import pause

_BYTES = 1 << 18
_POLL_S = 0.2
_DELAY_S = 0.05


class Relay:
    """Forwards what arrives at one Unix socket to another, in one direction.

    :ivar is_changed: whether the link is cut or slow.
    """

    def __init__(self, path: Path, to: Path) -> None:
        self.is_changed = False
        self._is_cut = False
        self._is_slow = False
        self._harmed = 0
        self._to = str(to)
        self._pairs: dict[socket.socket, socket.socket] = {}
        self._is_over = False
        self._selector = selectors.DefaultSelector()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._run, name=f"relay {path.name}", daemon=True)
        self._thread.start()

    def cut(self) -> None:
        """Carry nothing. Connections end."""
        self.is_changed = self._is_cut = True

    def slow_down(self) -> None:
        """Carry at most 20 messages a second."""
        self.is_changed = self._is_slow = True

    def restore(self) -> int:
        """Restore the link. Return how many bytes and connections it has refused or delayed."""
        self.is_changed = self._is_cut = self._is_slow = False
        harmed, self._harmed = self._harmed, 0
        return harmed

    def close(self) -> None:
        """End the relay."""
        self._is_over = True
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over:
            for key, _ in self._selector.select(_POLL_S):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    self._forward(key.fileobj)
        for sock in (*self._pairs, *self._pairs.values(), self._listener):
            sock.close()
        self._selector.close()

    def _accept(self) -> None:
        sender, _ = self._listener.accept()
        receiver = socket.socket(socket.AF_UNIX)
        receiver.settimeout(5)  # a paused node must not stop the relay for longer
        try:
            if self._is_cut:
                raise ConnectionRefusedError
            receiver.connect(self._to)
        except OSError:
            self._harmed += self._is_cut
            sender.close()
            receiver.close()
            return
        self._pairs[sender] = receiver
        self._selector.register(sender, selectors.EVENT_READ)

    def _forward(self, sender: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = sender.recv(_BYTES)
        if data and self._is_slow:
            self._harmed += len(data)
            pause(_DELAY_S)
        if data and not self._is_cut:
            try:
                self._pairs[sender].sendall(data)
            except OSError:
                data = b""
        elif data:
            self._harmed += len(data)
            data = b""
        if not data:
            self._selector.unregister(sender)
            sender.close()
            self._pairs.pop(sender).close()
