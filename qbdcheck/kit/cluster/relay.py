"""A link between two nodes that a case can cut: a relay of one Unix socket to another."""

from __future__ import annotations

import selectors
import socket
import threading
from contextlib import suppress
from pathlib import Path

_BYTES = 1 << 18
_POLL_S = 0.2


class Relay:
    """Forwards what arrives at one Unix socket to another, in one direction.

    :ivar refused: bytes and connections that a cut link did not carry.
    """

    def __init__(self, path: Path, to: Path) -> None:
        self.refused = 0
        self.is_cut = False
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
            if self.is_cut:
                raise ConnectionRefusedError
            receiver.connect(self._to)
        except OSError:
            self.refused += self.is_cut
            sender.close()
            receiver.close()
            return
        self._pairs[sender] = receiver
        self._selector.register(sender, selectors.EVENT_READ)

    def _forward(self, sender: socket.socket) -> None:
        data = b""
        with suppress(OSError):
            data = sender.recv(_BYTES)
        if data and not self.is_cut:
            try:
                self._pairs[sender].sendall(data)
            except OSError:
                data = b""
        elif data:
            self.refused += len(data)
            data = b""
        if not data:
            self._selector.unregister(sender)
            sender.close()
            self._pairs.pop(sender).close()
