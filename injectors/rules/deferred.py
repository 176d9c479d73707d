"""Requests that a fault holds and carries out later."""

from __future__ import annotations

import contextlib
import threading

from blockio.errors import BlockError
from blockio.layers import Below, Request


class Held:
    """Requests that were answered but not carried out. Safe to use from many threads."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, Below]] = []
        self._lock = threading.Lock()

    def hold(self, request: Request, below: Below) -> None:
        """Hold a request."""
        with self._lock:
            self.requests.append((request, below))

    def carry_out(self, but: Request | None = None) -> None:
        """Carry out all held requests in order, except ``but``, which stays held.

        A request that fails is lost, because its client already has a reply. This includes OSError,
        after a power cut or on a broken connection.
        """
        with self._lock:
            due = [(held, below) for held, below in self.requests if held is not but]
            self.requests = [(held, below) for held, below in self.requests if held is but]
        for held, below in due:
            with contextlib.suppress(BlockError, OSError):
                below(held)

    def forget(self) -> None:
        """Drop all held requests."""
        with self._lock:
            self.requests.clear()
