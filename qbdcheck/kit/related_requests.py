"""Random requests, each in relation to earlier ones: repeated, beside, inside, in pieces, far away.

Bugs in caches, maps and counters need two or three requests that have something to do with each
other. Independent random places seldom have. So each place here is made from a recent one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import pairwise
from random import Random

from blockio.layers import Command, CommandFlag
from qbdcheck.kit.block_contents import Contents
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_requests import widened
from reference_backend.nbd.constants import TransmissionFlag

_BLOCK, _UNIT, _OBJECT = 4096, 65536, 1 << 20
_LENGTHS = (1, 100, 512, 512, 1024, 4096, 4096, 8192, 20_480, _UNIT, _UNIT + 4096, 100_001)
_MEMORY = 10
"""Places and changes that are remembered."""
_Change = Callable[[NbdIo, int, int], None]
_Kind = Callable[[int, int], _Change]


class RelatedRequests:
    """Makes changes of one volume by `NbdIo`, and keeps to the minimum and maximum block.

    :param size: bytes of the volume that are used.
    :param io: a connection, for what the export offers.
    :param contents: what writes contain; by default half of them stamps.
    :param fua: share of FUA among the changes.
    """

    def __init__(
        self,
        random: Random,
        size: int,
        io: NbdIo,
        contents: Contents | None = None,
        fua: float = 0.2,
    ) -> None:
        self._random = random
        self._size = size
        self._minimum = io.block_sizes[0]
        self._longest = io.block_sizes[2]
        self._contents = contents or Contents(random)
        self._places: deque[tuple[int, int]] = deque(maxlen=_MEMORY)
        self._changes: deque[tuple[_Change, int, int]] = deque(maxlen=_MEMORY)
        self._fua = fua if io.offers(TransmissionFlag.SEND_FUA) else 0
        self._kinds = self._offered(io)
        self._hints = random.choice((0, 0.1, 0.4)) if io.offers(TransmissionFlag.SEND_CACHE) else 0

    def change(self, io: NbdIo, base: int = 0) -> tuple[int, int]:
        """Carry out one change; return its place, in bytes from ``base``.

        Two fifths repeat an earlier change, half of them the newest one.

        :param base: added to the offset: the same requests can be sent to windows of a volume.
        """
        random = self._random
        if self._changes and random.random() < 0.4:
            act, at, length = random.choice((self._changes[-1], random.choice(self._changes)))
        else:
            at, length = self.place()
            act = random.choice(self._kinds)(at, length)
            if length > self._minimum and random.random() < 0.2:
                act = self._in_pieces(at, length)
            self._changes.append((act, at, length))
        act(io, base, CommandFlag.FUA if random.random() < self._fua else 0)
        if random.random() < self._hints:
            self._hint(io, base, at, length)
        return at, length

    def pair_with_fua(self, io: NbdIo) -> None:
        """Carry out a change, then the same or a related one with FUA.

        What the second one covers must be durable, whatever the first one left in a cache.
        """
        at, length = self.place()
        act = self._random.choice(self._kinds)(at, length)
        act(io, 0, 0)
        if self._random.random() < 0.6:
            inside = at + self._random.randrange(length)
            part = inside, min(self._random.choice((512, _BLOCK)), at + length - inside)
            near = self._fitted(*self._random.choice((part, self._related(at, length))))
            act = self._random.choice(self._kinds)(*near)
        act(io, 0, CommandFlag.FUA)

    def around(self, at: int, length: int) -> tuple[int, int]:
        """Return the place with the 64 KiB units around it, for a read."""
        start = max(0, at // _UNIT - 1) * _UNIT
        end = min(self._size, (at + length) // _UNIT * _UNIT + 2 * _UNIT)
        return start, min(end - start, self._longest // self._minimum * self._minimum)

    def place(self) -> tuple[int, int]:
        """Return a place in relation to a recent one, or a new one."""
        random = self._random
        if not self._places or random.random() < 0.25:
            at = random.randrange(self._size)
            at -= at % random.choice((1, 512, _BLOCK, _UNIT))
            found = at, random.choice(_LENGTHS)
        else:
            found = self._related(*random.choice(self._places))
        found = self._fitted(*found)
        self._places.append(found)
        return found

    def _fitted(self, at: int, length: int) -> tuple[int, int]:
        """Return a place within the volume and the limits of the export."""
        at = max(0, min(at, self._size - self._minimum))
        length = max(1, min(length, self._size - at, 4 * _UNIT, self._longest - 2 * self._minimum))
        at, length = widened(at, length, self._minimum)
        return at, min(length, self._size - at)

    def _related(self, at: int, length: int) -> tuple[int, int]:
        half, other = length // 2, self._random.choice(_LENGTHS)
        unit = self._random.choice((_BLOCK, _UNIT, _UNIT))
        inside = at + self._random.randrange(length)
        ways: Sequence[tuple[int, int]] = (
            (at, length),
            (at, half),
            (at + half, length - half),
            (inside, min(512, at + length - inside)),
            (at + length, other),
            (at - other, other),
            (at + half, length),
            widened(at, length, unit),
            widened(inside, 1, unit),
            (at + unit, length),
            (at - at % _OBJECT + _OBJECT - half, length),
        )
        return self._random.choice(ways)

    def _offered(self, io: NbdIo) -> list[_Kind]:
        """Return functions that make a change of a place, as often as they are to be drawn.

        Each instance draws which kinds it has, and how often. So some sequences have no zeroes, or
        hardly a write, and go further in what is left ("swarm testing", Groce et al., ISSTA 2012).
        """
        kinds: list[_Kind] = [self._write] * self._random.choice((1, 4, 4))
        if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            kinds += [self._zero] * self._random.choice((0, 1, 2, 2))
        if io.offers(TransmissionFlag.SEND_TRIM):
            kinds += [self._discard] * self._random.choice((0, 1, 2, 2))
        return kinds

    def _hint(self, io: NbdIo, base: int, at: int, length: int) -> None:
        """Ask to load the place, or what is around it; a server may refuse that."""
        if self._random.random() < 0.5:
            at, length = self.around(at, length)
        io.attempt(Command.CACHE, base + at, length)

    def _write(self, at: int, length: int) -> _Change:
        data = self._contents.draw(length)
        keeps = self._random.random() < 0.5

        def write(io: NbdIo, base: int, flags: int) -> None:
            nonlocal data
            written = io.write(base + at, length, flags, data=data)
            data = written if keeps else data

        return write

    def _zero(self, at: int, length: int) -> _Change:
        hole = self._random.choice((0, CommandFlag.NO_HOLE))
        return lambda io, base, flags: io.write_zeroes(base + at, length, flags | hole)

    def _in_pieces(self, at: int, length: int) -> _Change:
        """Return a change of one kind in two to five pieces, in order or backwards."""
        kind = self._random.choice(self._kinds)
        count = self._random.randint(2, 5)
        edges = {self._random.randrange(length) // self._minimum for _ in range(count - 1)}
        starts = sorted({0, *(edge * self._minimum for edge in edges)})
        pieces = [kind(at + start, end - start) for start, end in pairwise([*starts, length])]
        if self._random.random() < 0.3:
            pieces.reverse()

        def change(io: NbdIo, base: int, flags: int) -> None:
            for piece in pieces:
                piece(io, base, flags)

        return change

    @staticmethod
    def _discard(at: int, length: int) -> _Change:
        return lambda io, base, flags: io.discard(base + at, length, flags)
