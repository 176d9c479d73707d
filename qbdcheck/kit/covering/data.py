"""What the writes of a walk contain: stamps, and data that resembles other data."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from qbdcheck.kit.block_contents import BLOCK, kinds_by_name, look_alikes
from qbdcheck.kit.nbd_io import NbdIo

_REMEMBERED = 6
_LONGEST = 65536
"""Bytes of a write that are remembered."""


class Data:
    """Makes the contents of writes of each class of `qbdcheck.kit.covering.classes.CONTENTS`."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._kinds = kinds_by_name(random)
        self._equal = random.randbytes(BLOCK)
        self._recent = [self._equal]

    def remember(self, data: bytes) -> None:
        """Remember what was written, for writes of the same elsewhere."""
        self._recent = [*self._recent[-_REMEMBERED:], data[:_LONGEST]]

    def made(self, contents: str, io: NbdIo, at: int, length: int) -> bytes | None:
        """Return data of a class for a range, in bytes; None for stamps.

        For ``resembling`` the data that the new one resembles is written first.
        """
        makers: dict[str, Callable[[], bytes]] = {
            "zeroes": lambda: bytes(length),
            "equal blocks": lambda: _repeated(self._equal, length),
            "as there": lambda: io.read(at, length),
            "one byte differs": lambda: self._with_wrong_byte(io.read(at, length)),
            "as elsewhere": lambda: _repeated(self._random.choice(self._recent), length),
            "resembling": lambda: self._resembling(io, at, length),
        }
        if contents in makers:
            return makers[contents]()
        if contents in self._kinds:
            return _aligned(self._kinds[contents](), at, length)
        return None

    def _with_wrong_byte(self, data: bytes) -> bytes:
        wrong = bytearray(data)
        places = 0, len(data) - 1, self._random.randrange(len(data))
        wrong[self._random.choice(places)] ^= self._random.randrange(1, 256)
        return bytes(wrong)

    def _resembling(self, io: NbdIo, at: int, length: int) -> bytes:
        pairs = [pair for _, pair in look_alikes(self._random)]
        one, other = self._random.choice(pairs)
        io.write(at, length, data=_aligned(one, at, length))
        return _aligned(other, at, length)


def _repeated(data: bytes, length: int) -> bytes:
    return (data * -(-length // len(data)))[:length]


def _aligned(block: bytes, at: int, length: int) -> bytes:
    """Return a block repeated so that it begins at multiples of its length in the volume."""
    skip = at % len(block)
    return _repeated(block, skip + length)[skip:]
