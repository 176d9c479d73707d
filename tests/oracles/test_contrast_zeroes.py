"""Zeroes that must be around a zeroed place."""

from __future__ import annotations

import numpy as np
import pytest

from oracles.contrast import in_zeroes
from oracles.damage import Damage
from oracles.finding import SECTOR, Finding, Findings


@pytest.mark.parametrize(
    ("data_at", "line"),
    [
        (7, "the 2048 bytes before it and the 1024 bytes behind it must be zeroes"),
        (5, ""),  # data directly behind it
    ],
)
def test_zeroes_around_a_zeroed_place_are_named(data_at: int, line: str) -> None:
    wanted = np.zeros(8 * SECTOR, dtype=np.uint8)
    wanted[4 * SECTOR : 5 * SECTOR] = 1
    wanted[data_at * SECTOR] = 1
    zeroed = Finding(Damage.ZEROED, 1 << 20 | 4 * SECTOR, SECTOR)
    (found,) = in_zeroes(Findings([zeroed]), wanted, 1 << 20)
    assert "".join(found.evidence) == line


def test_other_damage_says_nothing_of_zeroes() -> None:
    stale = Findings([Finding(Damage.STALE, 0, SECTOR)])
    assert in_zeroes(stale, np.zeros(SECTOR * 9, dtype=np.uint8), 0) is stale
