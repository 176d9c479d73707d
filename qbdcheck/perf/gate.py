"""The gate: a regression is one whose interval excludes everything below the limit.

Three questions are asked of IOPS and of the CPU time of the server for each request (of the client,
if the target has no server). Is a target slower over all shapes together? There the noise of single
samples averages out, so a tenth is found in the profile quick. Is it slower in one shape? There the
interval is wider, because one of many shapes is out by chance. A wide interval is no regression.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qbdcheck.perf.rounds import Measured
from qbdcheck.perf.sample import CLIENT, IOPS, METRICS, SERVER, Metric
from qbdcheck.perf.statistics import (
    LEVEL,
    STRICT,
    Estimate,
    pooled_paired,
    pooled_unpaired,
)

ALL_SHAPES = "all shapes"


@dataclass(frozen=True)
class Row:
    """One metric of one shape, or of all, compared.

    :ivar cost: how much more the target costs than the other: 1.1 is a tenth slower, also of IOPS.
    :ivar strict: the same with the wider interval that the gate uses.
    """

    label: str
    metric: Metric
    cost: Estimate
    strict: Estimate

    @property
    def ratio(self) -> Estimate:
        """Target / other in the metric's own direction, for the table."""
        if not self.metric.more_is_better:
            return self.cost
        return Estimate(1 / self.cost.value, 1 / self.cost.high, 1 / self.cost.low)

    @property
    def word(self) -> str:
        """The answer in words."""
        if not self.cost.excludes_one:
            return "no difference shown"
        if self.metric.more_is_better:
            return "faster" if self.cost.high < 1 else "slower"
        return "cheaper" if self.cost.high < 1 else "dearer"

    def exceeds(self, limit: float) -> bool:
        """Return whether the whole interval is above the limit: 0.05 for 5 %."""
        return (self.cost if self.label == ALL_SHAPES else self.strict).low > 1 + limit


def compare(
    ours: Measured, target: str, others: Measured, other: str, *, paired: bool
) -> list[Row]:
    """Return the rows of all metrics: first of all shapes together, then of each shape.

    :param paired: whether both were measured in the same rounds. If they were not, the figures are
        corrected for the speed of the processor at both times, which the unit of work shows.
    """
    speed = 1.0 if paired else ours.unit_s(target) / others.unit_s(other)
    common = [shape for shape in ours.shapes if shape in others.shapes]
    rows = []
    for metric in METRICS:
        sides = {
            shape: (ours.values(target, shape, metric), others.values(other, shape, metric))
            for shape in common
        }
        known = {shape: both for shape, both in sides.items() if both[0] and both[1]}
        if len(known) > 1:
            rows.append(_row(ALL_SHAPES, metric, list(known.values()), speed, paired=paired))
        rows += [
            _row(one.label, metric, [both], speed, paired=paired) for one, both in known.items()
        ]
    return rows


def _row(
    label: str,
    metric: Metric,
    sides: Sequence[tuple[Sequence[float], Sequence[float]]],
    speed: float,
    *,
    paired: bool,
) -> Row:
    ours, others = [one for one, _ in sides], [one for _, one in sides]
    if metric.more_is_better:
        ours, others = others, ours
    ratio = pooled_paired if paired else pooled_unpaired
    both = (ratio(ours, others, level) for level in (LEVEL, STRICT))
    cost, strict = (Estimate(*(number / speed for number in one)) for one in both)
    return Row(label, metric, cost, strict)


def regressions(rows: Sequence[Row], limit: float, noise: float = 0.0) -> list[Row]:
    """Return the rows whose cost is above the limit beyond doubt.

    :param noise: of the machine, as a share. It is added to the limit of IOPS: what other programs
        do changes the time of a request much more than its CPU time.
    """
    has_server = any(row.metric is SERVER for row in rows)
    limits = {IOPS: limit + noise, SERVER if has_server else CLIENT: limit}
    return [row for row in rows if row.metric in limits and row.exceeds(limits[row.metric])]
