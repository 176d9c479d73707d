"""The contents that a user of a volume may find after a cut at a moment of its log.

The requests of the user are above the log: they go to a disk whose image format writes the logged
volume. For each request two positions in the log are known: when it was sent and when it was
answered. After a cut, requests that were answered before an answered flush are durable; for all
later ones each sector is old or new.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass

from oracles.finding import Findings
from oracles.shadow import LARGEST, Shadow
from oracles.stamps import Data, Identity


@dataclass(frozen=True)
class _Request:
    begun: int
    answered: int
    done: Callable[[Shadow], None]
    pending: Callable[[Shadow], None]


class Promises:
    """The requests of one disk of ``size`` bytes, recorded in the order of their replies.

    ``begun`` and ``answered`` are numbers of entries of the log, as `entries_in` returns them.

    :param identity: of the stamps; `stamped` makes them.
    """

    def __init__(self, size: int, identity: Identity) -> None:
        self.size = size
        self._identity = identity
        self._requests: list[_Request] = []
        self._stamps = Shadow(LARGEST, identity)  # resizes may follow
        self._known: dict[int, Shadow] = {}

    def stamped(self, offset: int, length: int) -> bytes:
        """Return data for the next write."""
        return self._stamps.stamped(offset, length)

    def write(
        self, offset: int, data: Data, begun: int, answered: int, *, fua: bool = False
    ) -> None:
        """Record a write."""
        self._stamps.write(offset, data)
        self._add(
            begun,
            answered,
            lambda shadow: shadow.write(offset, data, fua=fua),
            lambda shadow: shadow.maybe_write(offset, data),
        )

    def zero(self, offset: int, length: int, begun: int, answered: int) -> None:
        """Record a write of zeroes."""
        self._add(
            begun,
            answered,
            lambda shadow: shadow.zero(offset, length),
            lambda shadow: shadow.zero(offset, length, maybe=True),
        )

    def discard(self, offset: int, length: int, begun: int, answered: int) -> None:
        """Record a discard: old or zeroes, also when it is durable."""

        def discarded(shadow: Shadow) -> None:
            shadow.discard(offset, length)

        self._add(begun, answered, discarded, discarded)

    def resize(self, size: int, begun: int, answered: int) -> None:
        """Record that the disk grew: until that is durable, the new part may hold anything."""
        self._add(begun, answered, lambda shadow: shadow.resize(size), lambda _: None)

    def flush(self, begun: int, answered: int) -> None:
        """Record a flush: requests that were answered before it was sent are durable."""
        self._add(begun, answered, Shadow.flush, lambda _: None)

    def _add(
        self,
        begun: int,
        answered: int,
        done: Callable[[Shadow], None],
        pending: Callable[[Shadow], None],
    ) -> None:
        self._requests.append(_Request(begun, answered, done, pending))
        self._known.clear()

    @property
    def acknowledged(self) -> list[int]:
        """For each request, the number of log entries when it was answered, in order."""
        return sorted(request.answered for request in self._requests)

    def shadow(self, limit: int) -> Shadow:
        """Return what is permitted after a cut when ``limit`` entries may have been answered."""
        level = bisect_right(self.acknowledged, limit)
        found = self._known.get(level)
        if found is None:
            found = self._known[level] = Shadow(self.size, self._identity)
            for request in self._requests:
                if request.answered <= limit:
                    request.done(found)
                elif request.begun <= limit:
                    request.pending(found)
            found.power_cut()
        return found

    def judge(self, limit: int, read: Callable[[int, int], Data]) -> Findings:
        """Compare all ranges that were ever written with what ``read(offset, length)`` returns.

        :return: what is wrong; each sector may have any of its permitted contents.
        """
        shadow = self.shadow(limit)
        found = Findings()
        for offset, used in self._stamps.used():
            length = min(used, shadow.size - offset)
            if length > 0:
                found += shadow.check(offset, read(offset, length), length)
        return found
