"""The sizes that a volume had, as its life says, and places that were behind its end."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from oracles.life import Moment

_SIZES = re.compile(r"from (\d+) to (\d+) bytes")
"""The text of the moment of a resize."""


def resized(life: Sequence[Moment], offset: int, length: int = 1) -> str:
    """Return which sizes a volume had, and whether a place was behind its end; "" without any."""
    found = [_SIZES.fullmatch(one.text) for one in life if one.kind == "resize"]
    pairs = [(int(one[1]), int(one[2])) for one in found if one]
    if not pairs:
        return ""
    sizes = [pairs[0][0], *(new for _, new in pairs)]
    smallest = min(sizes)
    told = f"the volume had {' bytes, then '.join(map(str, sizes))} bytes; offset {offset} was "
    crossed = [size for size in sizes if offset < size < offset + length]
    if crossed:
        start = f"{told.removesuffix(f'offset {offset} was ')}the {length} bytes at offset {offset}"
        return f"{start} lie across the end that it had with {crossed[-1]} bytes"
    if offset < smallest:
        return f"{told}never behind its end"
    return f"{told}behind its end while it had {smallest} bytes"


def is_cut_off(life: Sequence[Moment], lost: int, first: int | None) -> bool:
    """Return whether a place was behind the end after a change: it is zero since it is back.

    :param lost: the place of the change in the life.
    :param first: the offset in bytes; by default that of the change.
    """
    place = life[lost].offset if first is None else first
    sizes = [_SIZES.fullmatch(one.text) for one in life[lost:] if one.kind == "resize"]
    return any(one is not None and int(one[2]) <= place for one in sizes)
