"""Requests that may block, each in a thread of its own, so that they do not delay others.

The next request starts when this one is under way: it is complete, or it waits, or (in a proxy) it
has reached the target. So faults hit requests in the order of arrival.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

MOST = 128
"""Most blocking requests of one client at a time; the next one waits."""


class _Thread(threading.local):
    under_way: threading.Event | None = None
    requests: BlockingRequests | None = None


_thread = _Thread()


def mark_under_way() -> None:
    """Let the next request start. Does nothing in a thread without a blocking request."""
    if _thread.under_way is not None:
        _thread.under_way.set()


def is_abandoned() -> bool:
    """Return whether the client of this thread's request has left."""
    return _thread.requests is not None and _thread.requests.abandoned


class BlockingRequests:
    """The blocking requests of one connection."""

    abandoned = False

    def __init__(self) -> None:
        self._free = threading.Semaphore(MOST)
        self._threads: set[threading.Thread] = set()

    def start(self, work: Callable[[], None]) -> None:
        """Run ``work`` for one request in a new thread; return when it is under way.

        :raise RuntimeError: the system has no more threads.
        """
        self._free.acquire()
        under_way = threading.Event()

        def run() -> None:
            _thread.under_way, _thread.requests = under_way, self
            try:
                work()
            finally:
                self._threads.discard(threading.current_thread())
                under_way.set()
                self._free.release()

        thread = threading.Thread(target=run, name="blocking-request", daemon=True)
        self._threads.add(thread)
        try:
            thread.start()
        except RuntimeError:
            self._threads.discard(thread)
            self._free.release()
            raise
        under_way.wait()

    def wait_for_room(self) -> None:
        """Wait until ``start`` would not wait for an earlier request to end."""
        with self._free:
            pass

    def abandon(self) -> None:
        """Cancel the requests that wait, because their client has left."""
        self.abandoned = True

    def join(self, timeout_s: float | None = None) -> None:
        """Wait for all requests, for each at most ``timeout_s`` seconds; None means no limit."""
        for thread in tuple(self._threads):
            thread.join(timeout_s)
