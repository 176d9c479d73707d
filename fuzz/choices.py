"""Bytes as a stream of choices, so that any bytes are a session of the protocol.

After the end of the bytes, each choice is 0. So a generator that measures coverage learns the
structure of sessions, and a shorter input is a simpler session.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TypeVar

_T = TypeVar("_T")


class Choices:
    """Reads choices from bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        """Return the number of unused bytes."""
        return len(self._data) - self._at

    def number(self, length: int) -> int:
        """Return a number of ``length`` bytes, big endian."""
        piece = self._data[self._at : self._at + length]
        self._at = min(len(self._data), self._at + length)
        return int.from_bytes(piece, "big")

    def below(self, limit: int) -> int:
        """Return a number from 0 to ``limit`` - 1; ``limit`` is at most 256."""
        return self.number(1) % limit

    def pick(self, values: Sequence[_T]) -> _T:
        """Return one of at most 256 values; the first one after the end of the bytes."""
        return values[self.below(len(values))]

    def rarely(self) -> bool:
        """Return True for one byte value in 16."""
        return self.number(1) & 15 == 15

    def take(self, length: int) -> bytes:
        """Return ``length`` bytes, padded with zeroes after the end."""
        piece = self._data[self._at : self._at + length]
        self._at += len(piece)
        return piece.ljust(length, b"\0")

    def pieces(self, data: bytes) -> list[bytes]:
        """Cut bytes into at most five pieces, like a network."""
        cuts = sorted(self.number(2) % (len(data) + 1) for _ in range(self.below(5)))
        bounds = [0, *cuts, len(data)]
        return [data[a:b] for a, b in itertools.pairwise(bounds)]
