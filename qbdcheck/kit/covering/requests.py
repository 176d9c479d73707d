"""Carries out the classes of requests of a covering array on a connection."""

from __future__ import annotations

from collections.abc import Mapping
from errno import ENOTSUP
from random import Random

from blockio.layers import Command, CommandFlag
from qbdcheck.kit.block_status import zero_reads_as_zero
from qbdcheck.kit.covering.array import Row
from qbdcheck.kit.covering.classes import CHANGES, ELSEWHERE, STREAM
from qbdcheck.kit.covering.data import Data
from qbdcheck.kit.covering.places import Place
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.request_errors import RequestFailed

_SMALL = (1, 100, 512, 4096)
"""Lengths of requests inside of others."""
_NEXT = (512, 4096, 4096, 16_384)
"""Lengths of requests in flight beside others."""
_STREAM, _PIECES = (1 << 20, 3 << 19, 5 << 19), (8192, 32_768, 65_536, 131_072)
"""Bytes of a stream of writes before a place, and lengths of the writes of a stream."""
_STEPS: Mapping[str, tuple[str, ...]] = {
    "nothing": (),
    "written twice": ("write", "write"),
    "zeroed": ("zero",),
    "NO_HOLE": ("zero NO_HOLE",),
    "discarded": ("discard",),
    "discarded twice": ("discard", "discard"),
    "read": ("read",),
    "hinted": ("cache",),
}
_AFTERWARDS: Mapping[str, str] = {
    "a small write inside": "write",
    "zeroes inside": "zero",
    "a discard inside": "discard",
    "all written": "write",
    "all zeroed": "zero",
    "all discarded": "discard",
    "a hint": "cache",
}
"""Commands of classes of `AFTERWARDS`; the others repeat the main command."""
_FLAGS = {"zero": 0, "zero NO_HOLE": CommandFlag.NO_HOLE, "zero FAST_ZERO": CommandFlag.FAST_ZERO}


class Requests:
    """Carries out requests by their classes (`qbdcheck.kit.covering.classes`).

    :param size: of the volume, in bytes.
    """

    def __init__(self, random: Random, size: int) -> None:
        self._random = random
        self.size = size
        self.data = Data(random)

    def earlier(self, name: str, io: NbdIo, at: int, length: int) -> None:
        """Bring a range into the state of a class of `EARLIER`."""
        for step in name.split(", "):
            self._step(step, io, at, length)

    def _step(self, step: str, io: NbdIo, at: int, length: int) -> None:
        if step == "flushed":
            io.flush()
            return
        if step == "read up to it":
            for start in range(max(0, at - 2 * length), at, length):
                io.read(start, min(length, at - start))
            return
        parts = [(at, length)]
        if step == "written in pieces":
            size = max(1, -(-length // self._random.choice((2, 3, 4))))
            ends = range(at, at + length, size)
            parts = [(start, min(size, at + length - start)) for start in ends]
        fua = "FUA" if step.endswith("FUA") else ""
        contents = step if step == "equal blocks" else "stamps"
        for command in _STEPS.get(step, ("write",)):
            for part in parts:
                self.main(command, io, part, fua, contents)

    def hint(self, io: NbdIo, at: int, length: int) -> None:
        """Send CACHE, which a server may refuse (NBD document, NBD_CMD_CACHE)."""
        io.attempt(Command.CACHE, at, length)

    def main(self, command: str, io: NbdIo, place: Place, fua: str, contents: str) -> bytes | None:
        """Carry out the main request alone; return what it wrote."""
        at, length = place
        flags = CommandFlag.FUA if fua else 0
        if command == "write":
            data = self.data.made(contents, io, at, length)
            written = io.write(at, length, flags, data=data)
            self.data.remember(written)
            return written
        if command == "discard":
            io.discard(at, length, flags)
        elif command == "zero FAST_ZERO":
            self._fast(io, at, length, flags)
        elif command in _FLAGS:
            io.write_zeroes(at, length, flags | _FLAGS[command])
        elif command == "cache":
            self.hint(io, at, length)
        elif command == "status":
            zero_reads_as_zero(io, at, at + length, io.read(at, length))
        else:
            io.read(at, length)
        return None

    @staticmethod
    def _fast(io: NbdIo, at: int, length: int, flags: int) -> None:
        """Zero quickly; a server may say that it cannot (NBD document, NBD_CMD_FLAG_FAST_ZERO).

        Then each sector is old or zero; case 035 demands more.
        """
        try:
            io.write_zeroes(at, length, flags | CommandFlag.FAST_ZERO)
        except RequestFailed as error:
            if error.errno != ENOTSUP:
                raise

    def together(  # the main request and who sends what
        self,
        ios: tuple[NbdIo, NbdIo],
        row: Row,
        place: Place,
        count: int,
    ) -> list[Place]:
        """Carry out the main request with ``count`` others in flight around it.

        :param ios: the connection of the main request, and one more for the others.
        :return: the places of the others.
        """
        io, _ = ios
        at, length = place
        commands = {"write": Command.WRITE, "discard": Command.TRIM, "read": Command.READ}
        command = commands.get(row["command"], Command.WRITE_ZEROES)
        flags = _FLAGS.get(row["command"], 0) | (CommandFlag.FUA if row.get("fua") else 0)
        data = None
        if row["command"] == "write":
            data = self.data.made(row.get("contents", "stamps"), io, at, length)
        before, behind = self._neighbours(place, count)
        for one in before:
            self._neighbour(self._random.choice(ios), one)
        io.send(command, at, length, flags, data=data)
        for one in behind:
            self._neighbour(self._random.choice(ios), one)
        for one_io in dict.fromkeys(ios):
            one_io.finish_all()
        return before + behind

    def _neighbours(self, place: Place, count: int) -> tuple[list[Place], list[Place]]:
        """Return places before and behind a place, next to each other."""
        low, high = place[0], place[0] + place[1]
        before: list[Place] = []
        behind: list[Place] = []
        for number in range(count):
            length = self._random.choice(_NEXT)
            if number % 2 and low >= length:
                low -= length
                before.append((low, length))
            elif high + length <= self.size:
                behind.append((high, length))
                high += length
        return before, behind

    def _neighbour(self, io: NbdIo, place: Place) -> None:
        command = self._random.choice((Command.WRITE, Command.WRITE, Command.READ))
        io.send(command, *place)

    def afterwards(self, row: Row, io: NbdIo, place: Place, data: bytes | None) -> Place:
        """Carry out a further request of a class of `AFTERWARDS`; return its place.

        :param data: what the main request wrote.
        """
        name = row["afterwards"]
        if name == STREAM:
            self._stream(io, *place)
            return place
        where = self._where(name, place)
        at, length = where
        command = _AFTERWARDS.get(name, row["command"])
        fua = CommandFlag.FUA if name.endswith("FUA") and command in CHANGES else 0
        is_copy = name.startswith("the same") or name == ELSEWHERE
        if is_copy and data and length:
            io.write(at, length, fua, data=data[:length])
        elif length:
            self.main(command, io, where, "FUA" if fua else "", "stamps")
        return where

    def _stream(self, io: NbdIo, at: int, length: int) -> None:
        """Write adjacent pieces of one length, up to the end of a place, without a pause."""
        piece = self._random.choice(_PIECES)
        start = max(0, at - self._random.choice(_STREAM)) // piece * piece
        for first in range(start, at + length, piece):
            io.write(first, min(piece, at + length - first))

    def _where(self, name: str, place: Place) -> Place:
        """Return the place of a further request: the same one, in it, or directly behind it."""
        at, length = place
        if name.endswith("inside"):
            start = at + self._random.randrange(length)
            return start, min(self._random.choice(_SMALL), at + length - start)
        if name in {ELSEWHERE, "the next one"}:
            return at + length, max(0, min(length, self.size - at - length))
        return place
