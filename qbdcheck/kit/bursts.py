"""Requests that a client sends in one piece, so that the server has all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qbdcheck.kit.nbd_io import NbdIo


@contextmanager
def all_at_once(*connections: NbdIo) -> Iterator[None]:
    """Hold back what is sent within the context; at its end send it in one piece, and finish all.

    A client in Python sends requests one by one more slowly than a server carries them out, so the
    server would have few in flight. Replies are read while requests are still being sent: a socket
    has room for some 200 replies, and a server whose replies are not read may stop to read.
    Several connections send at the same time.
    """
    bursts = [_Burst(io) for io in connections]
    try:
        yield
    finally:
        for one in bursts:
            one.release()
    for one in bursts:
        one.thread.start()
    for one in bursts:
        one.io.finish_all()
    for one in bursts:
        one.thread.join()
        one.io.client.receives_elsewhere = False  # after an error the connection is of no use
    for one in bursts:
        if one.errors:
            raise one.errors[0]


class _Burst:
    """The requests of one connection that are held back."""

    def __init__(self, io: NbdIo) -> None:
        self.io = io
        self.errors: list[OSError] = []
        self._held: list[bytes] = []
        self._send = io.client.send
        io.client.receives_elsewhere = True  # this thread receives while another one sends
        io.client.send = self._held_back  # type: ignore[method-assign]
        self.thread = threading.Thread(target=self._send_all, name="burst", daemon=True)

    def release(self) -> None:
        """Let the connection send again."""
        self.io.client.send = self._send  # type: ignore[method-assign]

    def _held_back(self, data: bytes | bytearray | memoryview) -> None:
        self._held.append(bytes(data))

    def _send_all(self) -> None:
        try:
            self._send(b"".join(self._held))
        except OSError as error:
            self.errors.append(error)
