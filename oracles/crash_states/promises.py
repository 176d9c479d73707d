"""What a user of a volume was promised by a moment of its log, and may find after a cut then.

The user's requests are above what is logged: writes to a disk whose image format writes the logged
volume. Each was begun when the log had so many entries, and answered when it had so many. A cut at
a moment makes of them: a durable contents (answered before a flush that was answered), and for all
since, old or new in each sector.
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
    """The requests of one disk of ``size`` bytes, told in the order in which they were answered.

    ``begun`` and ``answered`` are numbers of entries of the log, as `entries_in` tells them.

    :param identity: of the stamps; `stamped` makes them.
    """

    def __init__(self, size: int, identity: Identity) -> None:
        self.size = size
        self._identity = identity
        self._requests: list[_Request] = []
        self._stamps = Shadow(LARGEST, identity)  # resizes may follow
        self._known: dict[int, Shadow] = {}

    def stamped(self, offset: int, length: int) -> bytes:
        """Return data for a write that comes next."""
        return self._stamps.stamped(offset, length)

    def write(
        self, offset: int, data: Data, begun: int, answered: int, *, fua: bool = False
    ) -> None:
        """A write."""
        self._stamps.write(offset, data)
        self._add(
            begun,
            answered,
            lambda shadow: shadow.write(offset, data, fua=fua),
            lambda shadow: shadow.maybe_write(offset, data),
        )

    def zero(self, offset: int, length: int, begun: int, answered: int) -> None:
        """A write of zeroes."""
        self._add(
            begun,
            answered,
            lambda shadow: shadow.zero(offset, length),
            lambda shadow: shadow.zero(offset, length, maybe=True),
        )

    def discard(self, offset: int, length: int, begun: int, answered: int) -> None:
        """A discard: old or zeroes, also when it is durable."""

        def discarded(shadow: Shadow) -> None:
            shadow.discard(offset, length)

        self._add(begun, answered, discarded, discarded)

    def resize(self, size: int, begun: int, answered: int) -> None:
        """A change of the size, which grows: until it is durable, the new part may be anything."""
        self._add(begun, answered, lambda shadow: shadow.resize(size), lambda _: None)

    def flush(self, begun: int, answered: int) -> None:
        """A flush: what was answered before it began is durable."""
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
        """For each request, how many entries the log had when it was answered, in order."""
        return sorted(request.answered for request in self._requests)

    def shadow(self, limit: int) -> Shadow:
        """Return what may be there after a cut when ``limit`` entries may have been answered."""
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
        """Compare all that was ever written with what ``read(offset, length)`` gives.

        :return: what is wrong; each sector may be any of its permitted contents.
        """
        shadow = self.shadow(limit)
        found = Findings()
        for offset, used in self._stamps.used():
            length = min(used, shadow.size - offset)
            if length > 0:
                found += shadow.check(offset, read(offset, length), length)
        return found
