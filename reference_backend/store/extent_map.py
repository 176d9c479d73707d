"""Build the extents of a range from its data and its preallocated ranges."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from blockio.extents import STATE_HOLE, STATE_ZERO, Extent, merged

Ranges = Callable[[int, int], Iterable[tuple[int, int]]]
"""Maps ``(offset, end)`` to the parts of that range with a property, in order."""


def extents(offset: int, end: int, data: Ranges, preallocated: Ranges) -> Iterator[Extent]:
    """Yield the extents of ``[offset, end)`` in order, without gaps, with neighbours joined.

    :param data: returns the parts that may contain bytes other than zero.
    :param preallocated: returns the allocated parts of a range without data.
    """
    return merged(_unmerged(offset, end, data, preallocated))


def _unmerged(offset: int, end: int, data: Ranges, preallocated: Ranges) -> Iterator[Extent]:
    for start, stop in data(offset, end):
        yield from _without_data(offset, start, preallocated)
        yield Extent(stop - start, 0)
        offset = stop
    yield from _without_data(offset, end, preallocated)


def _without_data(offset: int, end: int, preallocated: Ranges) -> Iterator[Extent]:
    for start, stop in preallocated(offset, end):
        yield Extent(start - offset, STATE_HOLE | STATE_ZERO)
        yield Extent(stop - start, STATE_ZERO)
        offset = stop
    yield Extent(end - offset, STATE_HOLE | STATE_ZERO)
