"""Chance that can be repeated: each number is a function of the seed and of what it is drawn for.

There is no generator with a state: rules do not take numbers from each other, so a rule that is
added, removed or never reached leaves the draws of the others as they were.
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
    # 53 bits: what a float holds exactly, so that 1.0 cannot come out by rounding.
    return (number(seed, *names) >> (_BITS - 53)) / (1 << 53)


def drawer(seed: int, *names: int | str) -> Callable[[int], int]:
    """Return a function that gives the next whole number below its argument."""
    turn = 0

    def draw(limit: int) -> int:
        nonlocal turn
        turn += 1
        # 64 bits modulo a place on a disk (below 2^40): the bias is under one in sixteen million.
        return number(seed, *names, turn) % limit

    return draw
