"""Extents: the status of a range of a volume, as block status reports it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

STATE_HOLE = 1
"""The range is not allocated (NBD document, "base:allocation" metadata context, NBD_STATE_HOLE)."""
STATE_ZERO = 2
"""The range reads as zeroes (NBD_STATE_ZERO)."""
STATE_DIRTY = 1
"""The range was written since the last checkpoint (``qbd:dirty`` context)."""


class Extent(NamedTuple):
    """A run of bytes with one status.

    ``length`` is in bytes, at least 1; ``flags`` are the STATE_* bits of the requested context.
    """

    length: int
    flags: int


def merged(extents: Iterable[Extent]) -> Iterator[Extent]:
    """Join neighbours with equal flags, and drop empty extents.

    The NBD document asks servers to do so if it is cheap ("Block size",
    NBD_REPLY_TYPE_BLOCK_STATUS).
    """
    length = flags = 0
    for extent in extents:
        if extent.length == 0:
            continue
        if length and extent.flags == flags:
            length += extent.length
        else:
            if length:
                yield Extent(length, flags)
            length, flags = extent
    if length:
        yield Extent(length, flags)
