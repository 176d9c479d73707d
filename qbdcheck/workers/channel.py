"""Messages between a worker and its engine: objects of JSON, one a line, over a socket."""

from __future__ import annotations

import contextlib
import json
import select
import socket
from typing import Any

KEPT = "kept"
"""Directory of an engine, in its scratch directory, for the files of cases that were not green."""


class Channel:
    """One end of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._data = b""

    @classmethod
    def of(cls, descriptor: int) -> Channel:
        """Return the channel of an inherited socket."""
        return cls(socket.socket(fileno=descriptor))

    @classmethod
    def pair(cls) -> tuple[Channel, Channel]:
        """Return both ends of a new channel."""
        ours, theirs = socket.socketpair()
        return cls(ours), cls(theirs)

    @property
    def descriptor(self) -> int:
        """The file descriptor, for a process that inherits it."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close this end."""
        self._sock.close()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message; a peer that is gone is noticed when reading."""
        with contextlib.suppress(OSError):
            self._sock.sendall(json.dumps(message).encode() + b"\n")

    def receive(self, timeout_s: float) -> dict[str, Any] | None:
        """Return the next message; None at the end of the stream.

        :raise TimeoutError: none came in time.
        """
        self._sock.settimeout(timeout_s)
        while b"\n" not in self._data:
            try:
                chunk = self._sock.recv(1 << 16)
            except ConnectionError:
                return None
            if not chunk:
                return None
            self._data += chunk
        line, _, self._data = self._data.partition(b"\n")
        message: dict[str, Any] = json.loads(line)
        return message

    def is_closed(self) -> bool:
        """Return whether the peer is gone. It sends nothing while a unit runs."""
        if not select.select([self._sock], [], [], 0)[0]:
            return False
        with contextlib.suppress(OSError):
            return self._sock.recv(1, socket.MSG_PEEK) == b""
        return True
