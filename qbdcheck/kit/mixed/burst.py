"""Requests in flight together, each in relation to those in flight and to the newest ones.

A client that waits for one of several replies, and then sends what depends on it, reaches states
of a server that neither single requests nor a full pipeline reach. So each step either sends one
more request or takes a reply, often the newest one.

Changes in flight never overlap: their result would depend on the order (the cases 460-469 judge
that). Reads may overlap changes in flight, and then return old or new data, and flushes cover what
was answered before they were sent. `finish` keeps to that order: it judges a read, and counts a
flush, before the changes that were in flight with it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from blockio.layers import Command, CommandFlag
from qbdcheck.kit.mixed.style import Style
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_requests import widened

Place = tuple[int, int]
CHANGES = frozenset({Command.WRITE, Command.WRITE_ZEROES, Command.TRIM})
_PAGE = 4096
_TRIES = 4
_UNREAD = 32_768
"""Bytes of replies that may wait on a connection while a payload is sent."""
_RECENT = 6
_KEPT = 16


@dataclass(eq=False)
class _Flying:
    """A request in flight.

    ``is_read``: a read has been sent over this change. Its data settles what the shadow expects, so
    one change is read once, and no flush is sent then. ``is_flushed``: a flush was answered since.
    """

    io: NbdIo
    cookie: int
    command: Command
    place: Place
    is_read: bool = False
    is_flushed: bool = False

    def meets(self, command: Command, place: Place) -> bool:
        """Return whether a request has bytes in common with this one, and one changes them."""
        (at, length), (low, count) = self.place, place
        both = at < low + count and low < at + length
        return both and bool(CHANGES & {command, self.command})


class Burst:
    """Sends the requests of rounds on some connections to one volume.

    :param ios: connections to the volume; all see the same data.
    :param pool: a few blocks of 4 KiB that writes repeat.
    :ivar touched: the places of all changes so far.
    """

    def __init__(self, ios: Sequence[NbdIo], random: Random, pool: Sequence[bytes]) -> None:
        self._ios = list(ios)
        self._random = random
        self._pool = pool
        self._flying: list[_Flying] = []
        self._recent: deque[Place] = deque(maxlen=_RECENT)
        self._full: deque[Place] = deque(maxlen=_KEPT)
        """Places that were written, for what frees them, and places that were freed."""
        self._free: deque[Place] = deque(maxlen=_KEPT)
        self._minimum = ios[0].block_sizes[0]
        self._size = ios[0].client.size
        self._longest = max(
            self._minimum, ios[0].longest_sure // 2 // self._minimum * self._minimum
        )
        self.touched: list[Place] = []

    def begin(self, places: Sequence[tuple[Place, bool]]) -> None:
        """Note places that were made before, each with whether it holds data."""
        for place, is_full in places:
            (self._full if is_full else self._free).append(place)

    def run(self, style: Style) -> None:
        """Send the requests of a style, and wait for the last replies."""
        self.send(style)
        self.finish_all()

    def send(self, style: Style) -> None:
        """Send the requests of a style; some are in flight at the end."""
        random = self._random
        for _ in range(style.count):
            while len(self._flying) >= style.depth:
                self._finish_one(style)
            self._send_one(style)
            if self._flying and random.random() < style.patience:
                self._finish_one(style)

    def finish_all(self) -> None:
        """Wait for all replies."""
        while self._flying:
            self._finish(self._flying[0])

    def abandon(self) -> None:
        """Forget what is in flight: its connections have ended. It is old or new from now on."""
        self._flying.clear()

    # Sending -------------------------------------------------------------------------------------

    def _send_one(self, style: Style) -> None:
        random = self._random
        command = random.choice(style.commands)
        if command is Command.FLUSH:
            if any(one.is_read for one in self._flying if one.command in CHANGES):
                return
            self._add(random.choice(self._ios), command, (0, 0), 0, None)
            return
        for _ in range(_TRIES):
            place = self._opposite(command) or self._place(style)
            met = [one for one in self._flying if one.meets(command, place)]
            free = [io for io in self._ios if all(one.io is not io for one in met)]
            if free and self._may_meet(command, met):
                self._recent.append(place)
                for one in met if command is Command.READ else ():
                    one.is_read = True
                flags, data = 0, None
                if command in CHANGES:
                    self.touched.append(place)
                    self._note(command, place)
                    flags = CommandFlag.FUA if random.random() < style.fua else 0
                if command is Command.WRITE:
                    data = self._contents(style, place)
                self._add(random.choice(free), command, place, flags, data, is_read=bool(met))
                return

    def _note(self, command: Command, place: Place) -> None:
        """Note that a place is full, or free, from now on."""
        ways = (self._full, self._free) if command is Command.WRITE else (self._free, self._full)
        ways[0].append(place)
        if place in ways[1]:
            ways[1].remove(place)

    def _opposite(self, command: Command) -> Place | None:
        """Return, now and then, a place whose state the command reverses."""
        there = self._free if command is Command.WRITE else self._full
        if command not in CHANGES or not there or self._random.random() < 0.6:
            return None
        at, length = self._random.choice(there)
        return at, min(length, self._longest)

    def _may_meet(self, command: Command, met: Sequence[_Flying]) -> bool:
        """Return whether a request may overlap what is in flight.

        What a read over a change saw settles what the shadow expects, so no flush may be counted
        between them: it need not cover what the read saw.
        """
        if met and any(one.command is Command.FLUSH for one in self._flying):
            return False
        if command in CHANGES:
            return len(met) <= 1 and all(one.command is Command.READ for one in met)
        return not any(one.is_read or one.is_flushed for one in met)

    def _add(
        self,
        io: NbdIo,
        command: Command,
        place: Place,
        flags: int,
        data: bytes | None,
        *,
        is_read: bool = False,
    ) -> None:
        if command is Command.CACHE:  # a server may refuse it (NBD document, NBD_CMD_CACHE)
            if not any(one.io is io for one in self._flying):
                io.attempt(command, *place)
            return
        if command is Command.WRITE:
            self._take_replies(io)
        cookie = io.send(command, *place, flags, data=data)
        self._flying.append(_Flying(io, cookie, command, place, is_read))

    def _take_replies(self, io: NbdIo) -> None:
        """Take long replies off a connection: a server may not read a payload until they are."""
        reads = [one for one in self._flying if one.io is io and one.command is Command.READ]
        unread = sum(one.place[1] for one in reads)
        for one in reads:
            if unread > _UNREAD:
                self._finish(one)
                unread -= one.place[1]

    def _contents(self, style: Style, place: Place) -> bytes | None:
        if style.contents == "stamps" or (
            style.contents == "zeroes" and self._random.random() < 0.6
        ):
            return None
        at, length = place
        if style.contents == "zeroes":
            return bytes(length)
        block = self._random.choice(self._pool)
        start = at % _PAGE
        return (block * (length // _PAGE + 2))[start : start + length]

    def _place(self, style: Style) -> Place:
        """Return a place near one in flight or a recent one, or a new one among the hot places."""
        random = self._random
        length = random.choice(style.lengths)
        near = [one.place for one in self._flying if one.place[1]] + list(self._recent)
        if not near or random.random() < 0.3:
            at = style.low + random.randrange(max(1, style.span))
            at -= at % random.choice((512, _PAGE, style.step))
        else:
            low, count = random.choice(near[-2 * _RECENT :])
            page = low - low % _PAGE
            at = random.choice((
                low,
                low + count,
                low - length,
                page + random.randrange(8) * 512,
                low + random.randrange(count),
                low - low % style.step + random.randrange(-2, 4) * style.step,
                low + style.step,
            ))  # fmt: skip
            if random.random() < 0.3:
                length = count
        at = max(0, min(at, self._size - self._minimum))
        length = max(1, min(length, self._size - at, self._longest))
        at, length = widened(at, length, self._minimum)
        return at, min(length, self._size - at, self._ios[0].longest_sure)

    # Replies -------------------------------------------------------------------------------------

    def _finish_one(self, style: Style) -> None:
        is_newest = self._random.random() < style.newest_first
        self._finish(self._flying[-1] if is_newest else self._random.choice(self._flying))

    def _finish(self, one: _Flying) -> None:
        """Take the reply to a request, after those that must be judged before it."""
        for other in list(self._flying):
            if other.command is Command.FLUSH:  # it covers no change that is in flight with it
                self._take(other)
        if one.command in CHANGES:
            for other in list(self._flying):
                if other.command is Command.READ and other.meets(one.command, one.place):
                    self._take(other)
        self._take(one)

    def _take(self, one: _Flying) -> None:
        if one in self._flying:
            self._flying.remove(one)
            for other in self._flying if one.command is Command.FLUSH else ():
                other.is_flushed = True
            one.io.finish(one.cookie)
