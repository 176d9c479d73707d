"""Earlier contents of a place that are not its stamps: copies of other data, random bytes, text.

Cases also write data that says nothing about its place, such as a block that is equal to another
one. Where such data is seen again after it was overwritten, it is the old data of this place. A
copy of a stamp would otherwise look like a write to a wrong place, and other bytes like unknown
data.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace

import numpy as np

from oracles.damage import Confidence, Content, Damage, Operation, What
from oracles.finding import Finding
from oracles.stamps import Bytes

_WRITES = 256
"""Writes that are kept."""
_LONGEST = 1 << 16
"""Bytes of a write that are kept."""
_EXPLAINED = (Damage.MISDIRECTED, Damage.UNKNOWN, Damage.SHIFTED, Damage.TORN, Damage.OTHER_WRITE)


class RawWrites:
    """The newest writes of a volume whose data are not the stamps of their place."""

    def __init__(self) -> None:
        self._kept: deque[tuple[Operation, Bytes]] = deque(maxlen=_WRITES)

    def copy(self) -> RawWrites:
        """Return an independent copy."""
        other = RawWrites()
        other._kept = self._kept.copy()
        return other

    def add(self, write: Operation, data: Bytes) -> None:
        """Keep the data of a write. It is not copied."""
        self._kept.append((write, data[:_LONGEST]))

    def data_of(self, write: Operation, start: int, length: int) -> bytes | None:
        """Return what a write put at ``[start, start + length)``; None if it is not kept.

        :param start: in bytes from the start of the volume, as is ``length``; inside the write.
        """
        for one, data in reversed(self._kept):
            if one is write:
                part = data[start - write.offset :][:length].tobytes()
                return part if len(part) == length else None
        return None

    def explained(self, finding: Finding, seen: Bytes, offset: int) -> Finding:
        """Return a finding as stale if its place once held the data that was seen there.

        :param seen: what the read returned, from ``offset`` on, in bytes.
        """
        if finding.damage not in _EXPLAINED or finding.part is not None or not finding.length:
            return finding
        there = seen[finding.offset - offset :][: finding.length]
        for write, data in reversed(self._kept):
            start = finding.offset - write.offset
            if start < 0 or start + finding.length > len(data):
                continue
            if np.array_equal(data[start : start + finding.length], there):
                return replace(
                    finding,
                    damage=Damage.STALE,
                    seen=Content(What.WRITE, operation=write.number),
                    moved=None,
                    confidence=Confidence.CERTAIN,
                )
        return finding
