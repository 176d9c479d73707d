"""The bytes of a volume about which nothing is promised, because a policy is waived.

After a discard the NBD document promises nothing until the range is written again
(NBD_CMD_TRIM). The policy discard-old-or-zero does; if it is waived, such bytes may be anything.
A power cut may bring them back where a later write was not durable yet.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from oracles.damage import Damage
from oracles.finding import Findings
from oracles.stamps import Bytes

_Range = tuple[int, int]


class UnknownBytes:
    """Follows the requests to a volume. Starts and ends of ranges are in bytes."""

    def __init__(self) -> None:
        self._now: list[_Range] = []
        self._after_cut: list[_Range] = []
        """Those that a power cut at this moment would leave."""

    def __bool__(self) -> bool:
        return bool(self._now)

    def copy(self) -> UnknownBytes:
        """Return an independent copy, for a snapshot or a clone."""
        other = UnknownBytes()
        other._now, other._after_cut = list(self._now), list(self._after_cut)
        return other

    def add(self, start: int, end: int) -> None:
        """Record that nothing is promised about a range from now on."""
        for ranges in (self._now, self._after_cut):
            ranges[:] = [*_without(ranges, start, end), (start, end)]

    def remove(self, start: int, end: int, *, durable: bool) -> None:
        """Record that the contents of a range are known, also after a power cut if ``durable``."""
        self._now = _without(self._now, start, end)
        if durable:
            self._after_cut = _without(self._after_cut, start, end)

    def flush(self) -> None:
        """Record that everything is durable."""
        self._after_cut = list(self._now)

    def power_cut(self) -> None:
        """Record a power cut."""
        self._now = list(self._after_cut)

    def resize(self, size: int) -> None:
        """Forget what is behind a new end; what is added reads as zeroes."""
        self.remove(size, 1 << 64, durable=True)

    def touch(self, start: int, end: int) -> bool:
        """Return whether any of them is in a range."""
        return any(low < end and start < high for low, high in self._now)

    def others(self, places: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the bytes among ``places`` that are none of them, in order."""
        if not len(places):
            return places
        first, last = int(places[0]), int(places[-1])
        for low, high in self._now:
            if low <= last and first < high:
                places = places[(places < low) | (places >= high)]
        return places

    def beside(self, findings: Findings, seen: Bytes, wanted: Bytes, offset: int) -> Findings:
        """Return the findings with a wrong byte that is none of them.

        What is missing of a short read is always wrong: no policy leaves its length open.

        :param seen: what a read at ``offset`` returned; may be shorter than ``wanted``.
        """
        differs = self.others(np.flatnonzero(seen != wanted[: len(seen)]) + offset)
        ends = [np.searchsorted(differs, (one.offset, one.offset + one.length)) for one in findings]
        return Findings(
            one
            for one, (low, high) in zip(findings, ends, strict=True)
            if low < high or one.damage is Damage.TRUNCATED
        )


def _without(ranges: Iterable[_Range], start: int, end: int) -> list[_Range]:
    pieces = (
        piece for low, high in ranges for piece in ((low, min(high, start)), (max(low, end), high))
    )
    return [(low, high) for low, high in pieces if low < high]
