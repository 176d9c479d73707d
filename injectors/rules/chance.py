"""Random numbers that can be repeated: each is a function of the seed and of names for its purpose.

There is no generator with a state: rules do not take numbers from each other. A rule that is added,
removed or never reached does not change the numbers of other rules.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

_BITS = 64


def number(seed: int, *names: int | str) -> int:
    """Return a whole number from 0 to 2^64-1 for this seed and these names."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=_BITS // 8).digest(), "big")


def fraction(seed: int, *names: int | str) -> float:
    """Return a number in [0, 1) for this seed and these names."""
    # A float holds 53 bits exactly: rounding cannot give 1.0.
    return (number(seed, *names) >> (_BITS - 53)) / (1 << 53)


def drawer(seed: int, *names: int | str) -> Callable[[int], int]:
    """Return a function that draws the next whole number below its argument."""
    turn = 0

    def draw(limit: int) -> int:
        nonlocal turn
        turn += 1
        # 64 bits modulo an offset on a disk (below 2^40): the bias is below one in sixteen million.
        return number(seed, *names, turn) % limit

    return draw
