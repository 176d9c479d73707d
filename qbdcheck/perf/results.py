"""What a measurement found, in the forms of its reports."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qbdcheck.perf import baselines, gate
from qbdcheck.perf.gate import Row
from qbdcheck.perf.histogram import PERCENTILES, merged
from qbdcheck.perf.noise import Noise
from qbdcheck.perf.rounds import Measured
from qbdcheck.perf.sample import METRICS
from qbdcheck.perf.statistics import Estimate, median_of

FORMAT = 1
"""Version of the JSON file."""


@dataclass(frozen=True)
class Compared:
    """A comparison with another target, or with a baseline.

    :ivar limit: the share by which the target may cost more; None: nothing is judged.
    :ivar noise: of the machine, as a share.
    """

    other: str
    rows: list[Row]
    limit: float | None = None
    noise: float = 0.0

    @property
    def wrong(self) -> list[Row]:
        """The regressions."""
        return [] if self.limit is None else gate.regressions(self.rows, self.limit, self.noise)


@dataclass(frozen=True)
class Result:
    """Everything that was found on a machine; ``target`` is the one that is judged."""

    target: str
    noise: Noise
    machine: Mapping[str, str]
    measured: Measured
    compared: list[Compared]

    def shapes(self) -> list[dict[str, Any]]:
        """Return the figures of each target and shape: medians with intervals, percentiles."""
        found = []
        for target, rows in self.measured.samples.items():
            for shape, samples in rows.items():
                latencies = merged(one.latencies_ns for one in samples)
                medians = {
                    metric.name: _numbers(median_of(values))
                    for metric in METRICS
                    if (values := self.measured.values(target, shape, metric))
                }
                found.append({
                    "target": target,
                    "shape": shape.label,
                    "rounds": len(samples),
                    "requests": sum(one.requests for one in samples),
                    "bytes_per_s": _numbers(median_of([one.bytes_per_s for one in samples])),
                    "medians": medians,
                    "percentiles_ns": {
                        f"{percent:g}": latencies.percentile_ns(percent) for percent in PERCENTILES
                    } if latencies.total else {},
                    "histogram": latencies.encode() if latencies.total else "",
                    "samples": {
                        metric.name: self.measured.values(target, shape, metric)
                        for metric in METRICS
                    },
                })  # fmt: skip
        return found

    def comparisons(self) -> list[dict[str, Any]]:
        """Return the rows of all comparisons."""
        return [
            {
                "other": one.other,
                "limit": one.limit,
                "regressions": [f"{row.label} {row.metric.name}" for row in one.wrong],
                "rows": [
                    {
                        "shape": row.label,
                        "metric": row.metric.name,
                        "ratio": _numbers(row.ratio),
                        "cost": _numbers(row.cost),
                        "answer": row.word,
                    }
                    for row in one.rows
                ],
            }
            for one in self.compared
        ]

    def document(self) -> dict[str, Any]:
        """Return the document of the JSON file, and of the page."""
        return {
            "format": FORMAT,
            "target": self.target,
            "noise": self.noise._asdict(),
            "machine": dict(self.machine),
            "fingerprint": baselines.fingerprint(self.machine),
            "repeated_samples": self.measured.repeated,
            "shapes": self.shapes(),
            "comparisons": self.comparisons(),
        }

    def to_json(self) -> str:
        """Return the text of the JSON file."""
        return json.dumps(self.document(), indent=1) + "\n"


def _numbers(estimate: Estimate) -> dict[str, float]:
    return {name: round(value, 4) for name, value in estimate._asdict().items()}
