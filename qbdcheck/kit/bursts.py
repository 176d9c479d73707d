"""Requests that a client sends in one piece, so that the server has all of them at once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from qbdcheck.kit.nbd_io import NbdIo


@contextmanager
def all_at_once(io: NbdIo) -> Iterator[None]:
    """Hold back what is sent within the context; at its end send it in one piece, and finish all.

    A client in Python sends requests one by one more slowly than a server carries them out, so the
    server would have few in flight. Replies are read while requests are still being sent: a socket
    has room for some 200 replies, and a server whose replies are not read may stop to read.
    """
    held: list[bytes] = []
    send = io.client.send
    io.client.receives_elsewhere = True  # this thread receives while another one sends
    io.client.send = lambda data: held.append(bytes(data))  # type: ignore[method-assign]
    try:
        yield
    finally:
        io.client.send = send  # type: ignore[method-assign]
    errors: list[OSError] = []

    def send_all() -> None:
        try:
            send(b"".join(held))
        except OSError as error:
            errors.append(error)

    thread = threading.Thread(target=send_all, name="burst", daemon=True)
    thread.start()
    io.finish_all()
    thread.join()
    io.client.receives_elsewhere = False  # after an error the connection is of no use
    if errors:
        raise errors[0]
