"""How noisy the machine is: measured before anything else, and in each sample.

Two things are measured. `others` is the share of all cores that foreign programs use. `spread` is
by how much a fixed piece of work varies in time: half of the distance from the 10th to the 90th
percentile, as a share of the median. Neither says anything about a target, so a machine that is
too noisy makes a run BROKEN, never slow.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from qbdcheck import clock
from qbdcheck.programs.cpu_time import Meter

ACCEPTED = 0.10
"""The noise that is accepted by default."""
_PIECES = 40
_LOOPS = 200_000


class Noise(NamedTuple):
    """The noise of the machine, as shares."""

    others: float
    spread: float

    @property
    def worst(self) -> float:
        """The larger of the two, which the limit is about."""
        return max(self.others, self.spread)


def unit_s() -> float:
    """Do a fixed piece of work of about 10 ms; return the CPU seconds that it took."""
    start_s = clock.thread_cpu_s()
    for _ in range(_LOOPS):
        pass
    return clock.thread_cpu_s() - start_s


def measure(pieces: int = _PIECES) -> Noise:
    """Measure for about half a second; this process must do nothing else meanwhile."""
    meter = Meter(())
    times_s = []
    for _ in range(pieces):
        start_s = clock.now_s()
        unit_s()
        times_s.append(clock.now_s() - start_s)
    return Noise(meter.read().others, spread_of(times_s))


def spread_of(values: Sequence[float]) -> float:
    """Return half of the distance between the 10th and 90th percentile, as a share of the median.

    :raise ValueError: there are no values.
    """
    if not values:
        raise ValueError("no values")
    low, middle, high = np.quantile(np.asarray(values), [0.1, 0.5, 0.9])
    return float((high - low) / 2 / middle)


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0))
