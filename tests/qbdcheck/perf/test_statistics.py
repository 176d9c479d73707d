"""Intervals hold the true value as often as they promise, and shrink with more rounds."""

from __future__ import annotations

import random

import pytest

from qbdcheck.perf.statistics import (
    median_of,
    paired_ratio,
    pooled_paired,
    pooled_unpaired,
    slope_of,
)


def test_the_interval_of_a_ratio_holds_the_true_one() -> None:
    draw = random.Random(1)
    held = 0
    for _ in range(100):
        below = [draw.gauss(100, 5) for _ in range(8)]
        above = [one * 1.2 * draw.gauss(1, 0.05) for one in below]
        found = paired_ratio(above, below)
        assert found.low <= found.value <= found.high
        held += found.low <= 1.2 <= found.high
    assert held >= 88


def test_what_slows_a_whole_round_down_cancels_out() -> None:
    rounds = [1.0, 3.0, 0.5, 2.0, 7.0]
    found = paired_ratio([1.1 * one for one in rounds], rounds)
    assert found == pytest.approx((1.1, 1.1, 1.1))
    apart = pooled_unpaired([[1.1 * one for one in rounds]], [rounds])
    assert apart.low < 0.5 and apart.high > 2


def test_all_shapes_together_show_what_one_does_not() -> None:
    draw = random.Random(3)
    shapes = [[draw.gauss(100, 8) for _ in range(6)] for _ in range(20)]
    slower = [[one * 1.1 * draw.gauss(1, 0.08) for one in row] for row in shapes]
    alone = paired_ratio(slower[0], shapes[0])
    together = pooled_paired(slower, shapes)
    assert together.high - together.low < (alone.high - alone.low) / 2
    assert together.low > 1.05


def test_the_exponent_of_a_cost_is_found() -> None:
    sizes = [1, 10, 100, 1000]
    flat = slope_of(sizes, [[5.0, 5.1, 4.9]] * 4)
    linear = slope_of(sizes, [[5.0 * size, 5.1 * size, 4.9 * size] for size in sizes])
    assert flat.low <= 0.0 <= flat.high and flat.high < 0.05
    assert linear.value == pytest.approx(1.0, abs=0.02)


def test_too_little_is_refused() -> None:
    with pytest.raises(ValueError, match="no samples"):
        median_of([])
    with pytest.raises(ValueError, match="do not pair"):
        pooled_paired([[1.0, 2.0]], [[1.0]])
    with pytest.raises(ValueError, match="two sizes"):
        slope_of([1], [[1.0]])
    with pytest.raises(ValueError, match="same shapes"):
        pooled_unpaired([[1.0]], [])
