"""Sets of half-open byte ranges ``[start, end)``, kept sorted, disjoint and joined.

Used where a bitmap would cost memory in proportion to the size of a volume (up to 2^63-1 bytes)
instead of in proportion to what was touched. Operations cost O(log n) plus the ranges they remove.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator


class RangeSet:
    """A set of bytes, stored as ranges."""

    __slots__ = ("_ends", "_starts")

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []

    def __bool__(self) -> bool:
        return bool(self._starts)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return iter(list(zip(self._starts, self._ends, strict=True)))

    def __len__(self) -> int:
        return len(self._starts)

    def copy(self) -> RangeSet:
        """Return an independent set of the same bytes."""
        other = RangeSet()
        other._starts = self._starts.copy()
        other._ends = self._ends.copy()
        return other

    def clear(self) -> None:
        """Remove everything."""
        self._starts.clear()
        self._ends.clear()

    def add(self, start: int, end: int) -> None:
        """Add ``[start, end)``; ranges that touch become one."""
        if start >= end:
            return
        first = bisect_left(self._ends, start)
        last = bisect_right(self._starts, end)
        if first < last:
            start = min(start, self._starts[first])
            end = max(end, self._ends[last - 1])
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def remove(self, start: int, end: int) -> None:
        """Remove ``[start, end)``; what sticks out at either side stays."""
        if start >= end:
            return
        first = bisect_right(self._ends, start)
        last = bisect_left(self._starts, end)
        if first >= last:
            return
        starts: list[int] = []
        ends: list[int] = []
        if self._starts[first] < start:
            starts.append(self._starts[first])
            ends.append(start)
        if self._ends[last - 1] > end:
            starts.append(end)
            ends.append(self._ends[last - 1])
        self._starts[first:last] = starts
        self._ends[first:last] = ends

    def inside(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of ``[start, end)`` that are in the set, in order."""
        for at in range(bisect_right(self._ends, start), bisect_left(self._starts, end)):
            yield max(start, self._starts[at]), min(end, self._ends[at])

    def outside(self, start: int, end: int) -> Iterator[tuple[int, int]]:
        """Yield the parts of ``[start, end)`` that are not in the set, in order."""
        for inner_start, inner_end in self.inside(start, end):
            if start < inner_start:
                yield start, inner_start
            start = inner_end
        if start < end:
            yield start, end
