"""Requests that may have to wait, each in a thread of its own, so that they hold up no other.

The next request is looked at when this one is under way: it has ended, or waits, or (in a proxy)
has reached the target. So faults fall in the order in which requests came.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

MOST = 128
"""Requests of one client that may be under way so at once; the next one waits."""


class _Thread(threading.local):
    under_way: threading.Event | None = None
    asides: Asides | None = None


_thread = _Thread()


def now_under_way() -> None:
    """Let the requests after that of this thread go on; nothing where this is no such thread."""
    if _thread.under_way is not None:
        _thread.under_way.set()


def is_abandoned() -> bool:
    """Say whether the client of this thread's request has gone without waiting for it."""
    return _thread.asides is not None and _thread.asides.abandoned


class Asides:
    """The requests of one connection that are carried out beside the others."""

    abandoned = False

    def __init__(self) -> None:
        self._free = threading.Semaphore(MOST)
        self._threads: set[threading.Thread] = set()

    def start(self, work: Callable[[], None]) -> None:
        """Carry out one request in a thread of its own; return when it is under way.

        :raise RuntimeError: the system has no more threads.
        """
        self._free.acquire()
        under_way = threading.Event()

        def run() -> None:
            _thread.under_way, _thread.asides = under_way, self
            try:
                work()
            finally:
                self._threads.discard(threading.current_thread())
                under_way.set()
                self._free.release()

        thread = threading.Thread(target=run, name="aside", daemon=True)
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
        """Let none of those that wait be carried out: their client is gone."""
        self.abandoned = True

    def join(self, timeout_s: float | None = None) -> None:
        """Wait until all have ended, each at most so many seconds; None waits for ever."""
        for thread in tuple(self._threads):
            thread.join(timeout_s)
