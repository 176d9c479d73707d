"""Medians and ratios with bootstrap intervals (Efron and Tibshirani, 1993, chapters 6 and 13).

Samples are rows: one row for each round. A ratio of two targets is taken within a round, because
both were measured there one after the other; so what slows a whole round down cancels out. A ratio
to a baseline has no such pairs, and both sides are resampled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000
LEVEL = 0.95
"""The share of intervals that hold the true value, in tables."""
STRICT = 0.99
"""The same for one shape among several, where the gate judges each."""
_SEED = 20
"""Of the resampling: the same samples have the same interval."""

Rows = NDArray[np.float64]


class Estimate(NamedTuple):
    """A median and its interval."""

    value: float
    low: float
    high: float

    @property
    def excludes_one(self) -> bool:
        """Whether the interval of a ratio shows a difference."""
        return self.low > 1 or self.high < 1


def median_of(values: Sequence[float], level: float = LEVEL) -> Estimate:
    """Return the median of values with its interval.

    :raise ValueError: there are no values.
    """
    rows = np.asarray(values, dtype=np.float64)
    if not rows.size:
        raise ValueError("no samples")
    picked = _picks(len(rows), np.random.default_rng(_SEED))
    return _estimate(float(np.median(rows)), np.median(rows[picked], axis=1), level)


def paired_ratio(ours: Sequence[float], others: Sequence[float], level: float = LEVEL) -> Estimate:
    """Return the median of the ratios of the rounds, ours / others.

    :raise ValueError: the sides do not have the same number of samples, or none.
    """
    return pooled_paired([ours], [others], level)


def pooled_paired(
    ours: Sequence[Sequence[float]], others: Sequence[Sequence[float]], level: float = LEVEL
) -> Estimate:
    """Return the ratio over all shapes: the median of the geometric means of the rounds.

    :param ours: for each shape its samples, in the order of the rounds.
    :raise ValueError: the sides do not have the same shapes and rounds.
    """
    above, below = np.asarray(ours, np.float64), np.asarray(others, np.float64)
    if above.shape != below.shape or above.ndim != 2 or not above.size:
        raise ValueError(f"samples do not pair: {above.shape} and {below.shape}")
    logs = np.log(above / below).mean(axis=0)
    picked = _picks(len(logs), np.random.default_rng(_SEED))
    return _estimate(float(np.median(logs)), np.median(logs[picked], axis=1), level, exp=True)


def pooled_unpaired(
    ours: Sequence[Sequence[float]], others: Sequence[Sequence[float]], level: float = LEVEL
) -> Estimate:
    """Return the ratio over all shapes of two measurements that were not made in turns.

    :param ours: for each shape its samples; the number of rounds may differ between the sides.
    :raise ValueError: the sides do not have the same shapes, or no samples.
    """
    if len(ours) != len(others) or not ours or not all([*ours, *others]):
        raise ValueError("both sides need samples of the same shapes")
    generator = np.random.default_rng(_SEED)
    means, value = [], 0.0
    for sign, side in ((1, ours), (-1, others)):
        rounds = min(map(len, side))
        logs = np.log(np.array([row[-rounds:] for row in side], np.float64))
        # one choice of rounds for all shapes: what slowed a round down, slowed all its shapes down
        picked = _picks(rounds, generator)
        means.append(np.median(logs[:, picked], axis=2).mean(axis=0))
        value += sign * float(np.median(logs, axis=1).mean())
    return _estimate(value, means[0] - means[1], level, exp=True)


def slope_of(sizes: Sequence[float], costs: Sequence[Sequence[float]]) -> Estimate:
    """Return the exponent e of cost ~ size^e: the slope of a line through the logarithms.

    :param costs: for each size its samples. :raise ValueError: fewer than two sizes.
    """
    if len(sizes) < 2 or len(sizes) != len(costs):
        raise ValueError("a slope needs two sizes and samples of each")
    axis = np.log(np.asarray(sizes, np.float64))
    generator = np.random.default_rng(_SEED)
    rows = [np.log(np.asarray(one, np.float64)) for one in costs]
    drawn = np.array([np.median(row[_picks(len(row), generator)], axis=1) for row in rows])
    centred = (axis - axis.mean()) / ((axis - axis.mean()) ** 2).sum()
    value = float(centred @ np.array([np.median(row) for row in rows]))
    return _estimate(value, centred @ drawn, LEVEL)


def _picks(count: int, generator: np.random.Generator) -> NDArray[np.int64]:
    return generator.integers(0, count, (RESAMPLES, count))


def _estimate(value: float, drawn: Rows, level: float, *, exp: bool = False) -> Estimate:
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    numbers = np.array([value, low, high])
    found = np.exp(numbers) if exp else numbers
    return Estimate(*(float(one) for one in found))
