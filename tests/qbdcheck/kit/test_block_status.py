"""Maps of block status: clipped, joined, compared."""

from __future__ import annotations

import pytest

from blockio.extents import Extent
from oracles.damage import Damage
from qbdcheck.kit.block_status import StatusWrong, expect_status, joined, part, runs


def test_extents_are_clipped_at_the_end() -> None:
    assert list(runs(10, 25, [Extent(10, 1), Extent(100, 2)])) == [(10, 20, 1), (20, 25, 2)]


def test_neighbours_with_equal_flags_are_joined() -> None:
    assert joined([(0, 10, 1), (10, 20, 1), (20, 30, 0)]) == [(0, 20, 1), (20, 30, 0)]


def test_a_part_has_the_flags_of_the_whole() -> None:
    assert part([(0, 10, 1), (10, 20, 2), (20, 30, 3)], 5, 15) == [(5, 10, 1), (10, 15, 2)]


def test_equal_maps_may_be_split_differently() -> None:
    expect_status([(0, 10, 1), (10, 20, 1)], [(0, 20, 1)], "x")


@pytest.mark.parametrize("seen", [[(0, 10, 1), (10, 20, 0)], [(0, 10, 1)]])
def test_the_first_range_that_differs_is_named(seen: list[tuple[int, int, int]]) -> None:
    with pytest.raises(StatusWrong, match="10 bytes at 10") as caught:
        expect_status(seen, [(0, 20, 1)], "x")
    assert caught.value.findings[0].damage is Damage.STATUS
