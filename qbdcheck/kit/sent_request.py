"""A request as `qbdcheck.kit.nbd_io.NbdIo` sends it, what it changes, and its description."""

from __future__ import annotations

from dataclasses import dataclass

from blockio.layers import Command, CommandFlag
from oracles.damage import error as outcome
from oracles.history import History
from oracles.shadow import Shadow
from qbdcheck.kit.nbd_requests import describe
from qbdcheck.programs.requests_sent import Sent, note

_CHANGES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


@dataclass(frozen=True)
class SentRequest:
    """A request, the data that it writes, and the name of the connection."""

    command: int
    offset: int
    length: int
    flags: int
    data: bytes
    client: str
    asked: tuple[int, int]
    """The offset and length that the case asked for: the request has them in whole blocks."""

    @property
    def is_widened(self) -> bool:
        """Return whether the request is not exactly what the case asked for."""
        return self.asked != (self.offset, self.length)

    def cut(self, data: bytes) -> bytes:
        """Return what the case asked for of the data of the whole request."""
        start = self.asked[0] - self.offset
        return data[start : start + self.asked[1]]

    def asks_over(self, other: SentRequest) -> bool:
        """Return whether the two overlap as the case asked for them."""
        (start, length), (low, count) = self.asked, other.asked
        return start < low + count and low < start + length

    def overlaps(self, other: SentRequest) -> bool:
        """Return whether the result of one of the two depends on the other."""
        together = self.offset < other.offset + other.length
        together = together and other.offset < self.offset + self.length
        return together and (self.command in _CHANGES or other.command in _CHANGES)

    def noted(self, history: History) -> Sent:
        """Note it as about to be sent to the volume of a history."""
        return note(str(self), (self.offset, self.length), history)

    def refused(self, history: History, number: int) -> int:
        """Record that the server answered with an errno; return the errno."""
        what = f"{describe(self.command, self.offset, self.length, self.flags)}: {outcome(number)}"
        history.note("error", self.offset, self.length, text=what)
        return number

    def report(self, shadow: Shadow, *, maybe: bool) -> None:
        """Report the change to the shadow; ``maybe``: the sectors are old or new from now on."""
        if self.length == 0 or self.command not in _CHANGES:
            return
        fua = bool(self.flags & CommandFlag.FUA) and not maybe
        if self.command == Command.TRIM:
            shadow.discard(self.offset, self.length)
        elif self.command == Command.WRITE_ZEROES:
            shadow.zero(self.offset, self.length, fua=fua, maybe=maybe)
        elif maybe:
            shadow.maybe_write(self.offset, self.data)
        else:
            shadow.write(self.offset, self.data, fua=fua)

    def __str__(self) -> str:
        return f"{describe(self.command, self.offset, self.length, self.flags)} on {self.client}"


def laid_over(whole: bytes, at: int, part: bytes) -> bytes:
    """Return ``whole`` with ``part`` from byte ``at`` on."""
    return whole[:at] + part + whole[at + len(part) :]
