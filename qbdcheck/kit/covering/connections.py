"""The connections of a walk: one, another one, and new ones, in all header modes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from random import Random
from typing import Any

from qbdcheck.kit.nbd_io import NbdIo

_MODES = (
    {"structured": False, "extended": False},
    {"structured": True, "extended": False},
    {"structured": True, "extended": True},
)


class Connections:
    """Connections to one disk, made when they are needed.

    :param connect: makes one; takes the options of `qbdcheck.kit.nbd_io.connect`.
    :param most: connections that may be open at a time.
    """

    def __init__(self, connect: Callable[..., NbdIo], random: Random, most: int = 3) -> None:
        self._connect = connect
        self._random = random
        self._most = most
        self._open: list[NbdIo] = []

    def first(self) -> NbdIo:
        """Return the connection that is open for longest."""
        return self._open[0] if self._open else self.new()

    def new(self) -> NbdIo:
        """Return a new connection; close the oldest if there are too many."""
        while len(self._open) >= self._most:
            self._open.pop(0).close()
        self._open.append(self._connect(**self._options()))
        return self._open[-1]

    def by(self, name: str, than: NbdIo) -> NbdIo:
        """Return ``the same`` connection, ``another`` or ``a new one``.

        A connection that was closed meanwhile is replaced by one that is open.
        """
        if name == "a new one" or not self._open:
            return self.new()
        same = than if than in self._open else self._open[-1]
        if name == "the same":
            return same
        others = [one for one in self._open if one is not same]
        return others[0] if others else self.new()

    def close(self) -> None:
        """Close all connections in an orderly way."""
        while self._open:
            self._open.pop().close()

    def drop(self) -> None:
        """Forget all connections: their server has ended."""
        while self._open:
            io = self._open.pop()
            with contextlib.suppress(OSError):
                io.client.sock.close()
            io.close()

    def _options(self) -> dict[str, Any]:
        # Block status needs structured replies, so they come more often.
        return dict(self._random.choice((_MODES[1], *_MODES)))
