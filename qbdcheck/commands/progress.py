"""Say what a command is at, if it takes long. A command that is quick prints nothing."""

from __future__ import annotations

import sys
import threading
from typing import Self

from qbdcheck.clock import now_s

EVERY_S = 15.0
"""Seconds between two lines."""


class Progress:
    """Prints a line to standard error every `EVERY_S` seconds, from a thread of its own.

    :param what: what takes long, such as ``probe of nbdkit``; the line begins with it.
    :param every_s: seconds between two lines.
    """

    def __init__(self, what: str, every_s: float = EVERY_S) -> None:
        self.step = "what the target offers"
        """What is being done now, for the next line."""
        self._what = what
        self._every_s = every_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._talk, daemon=True)

    def __enter__(self) -> Self:
        self._started_s = now_s()
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _talk(self) -> None:
        while not self._over.wait(self._every_s):
            elapsed_s = now_s() - self._started_s
            print(f"check: {self._what}: {elapsed_s:.0f} s, now: {self.step}", file=sys.stderr)
