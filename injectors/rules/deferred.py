"""Requests that a fault keeps for later."""

from __future__ import annotations

import contextlib
import threading

from blockio.errors import BlockError
from blockio.layers import Below, Request


class Held:
    """Requests that were answered, and are still to be carried out. Safe for many threads."""

    def __init__(self) -> None:
        self.requests: list[tuple[Request, Below]] = []
        self._lock = threading.Lock()

    def hold(self, request: Request, below: Below) -> None:
        """Keep a request."""
        with self._lock:
            self.requests.append((request, below))

    def carry_out(self, but: Request | None = None) -> None:
        """Carry out all that is held, in order; ``but`` one request, which stays.

        What fails is lost: its client was told long ago that it is done. So it is when there is
        nothing beneath any more, after a power cut or behind a broken connection (OSError).
        """
        with self._lock:
            due = [(held, below) for held, below in self.requests if held is not but]
            self.requests = [(held, below) for held, below in self.requests if held is but]
        for held, below in due:
            with contextlib.suppress(BlockError, OSError):
                below(held)

    def forget(self) -> None:
        """Drop all that is held."""
        with self._lock:
            self.requests.clear()
