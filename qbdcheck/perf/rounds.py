"""Rounds of samples: each target in turn, in an order that changes with every round."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from qbdcheck.perf.sample import Metric, Sample
from qbdcheck.perf.shapes import Shape

LEAST_ROUNDS = 5
"""With fewer rounds an interval says nothing."""
_TRIES = 4
"""How often a sample is taken while other programs use too much of the CPU."""

Measure = Callable[[Shape], Sample]


class NoisyError(Exception):
    """The machine is too noisy to say anything: the verdict is BROKEN."""


@dataclass
class Measured:
    """All samples: for each target and shape one in each round.

    :ivar repeated: samples that were taken again because of noise.
    """

    shapes: tuple[Shape, ...]
    samples: dict[str, dict[Shape, list[Sample]]] = field(default_factory=dict)
    repeated: int = 0

    def values(self, target: str, shape: Shape, metric: Metric) -> list[float]:
        """Return the values of a metric in the order of the rounds; empty if there are none."""
        found = [metric.of(one) for one in self.samples[target][shape]]
        return [one for one in found if one is not None]

    def unit_s(self, target: str) -> float:
        """Return the median of the seconds that the unit of work took."""
        every = [one.unit_s for row in self.samples[target].values() for one in row]
        return statistics.median(every)


def make(
    targets: Mapping[str, Measure],
    shapes: Sequence[Shape],
    rounds: int,
    accepted: float,
    progress: Callable[[str], None],
) -> Measured:
    """Measure each shape on each target, round by round.

    :param targets: how to measure on each, by name. :param accepted: the noise that is accepted.
    :param progress: gets what is measured next, in words.
    :raise NoisyError: other programs used more in each of several tries.
    """
    result = Measured(tuple(shapes), {name: {one: [] for one in shapes} for name in targets})
    for number in range(rounds):
        order = list(targets) if number % 2 == 0 else list(targets)[::-1]
        for shape in shapes:
            progress(f"round {number + 1} of {rounds}: {shape.label}")
            for name in order:
                sample = _quiet(targets[name], shape, accepted, result)
                result.samples[name][shape].append(sample)
    return result


def _quiet(measure: Measure, shape: Shape, accepted: float, result: Measured) -> Sample:
    sample = measure(shape)
    for _ in range(_TRIES - 1):
        if sample.others <= accepted:
            return sample
        result.repeated += 1
        sample = measure(shape)
    if sample.others <= accepted:
        return sample
    raise NoisyError(
        f"other programs used {sample.others:.0%} of the CPU in {shape.label},"
        f" {_TRIES} times in turn; {accepted:.0%} is accepted"
    )
