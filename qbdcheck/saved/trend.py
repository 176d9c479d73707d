"""Verdicts and times of cases over runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from qbdcheck.saved.runs import SavedRun, Unit
from qbdcheck.verdict import Verdict

LETTERS = {
    Verdict.PASS: ".",
    Verdict.FAIL: "F",
    Verdict.BROKEN: "B",
    Verdict.KNOWN: "k",
    Verdict.NOT_RUN: "-",
}
"""The letters of verdicts in a line over runs; a space stands for a run without the case."""
BARS = "▁▂▃▄▅▆▇█"


@dataclass
class Trend:
    """A case under one image format, with its results in the runs that selected it."""

    case_id: str
    image_format: str
    results: list[tuple[SavedRun, Unit | None]] = field(default_factory=list)
    """For each run, the oldest first; None where it did not select the case."""

    @property
    def letters(self) -> str:
        """A letter for each run: see `LETTERS`."""
        return "".join(LETTERS[unit.verdict] if unit else " " for _, unit in self.results)

    @property
    def times_s(self) -> list[float | None]:
        """The duration in each run in seconds; None where the case did not run."""
        return [
            unit.elapsed_s if unit and unit.verdict is not Verdict.NOT_RUN else None
            for _, unit in self.results
        ]

    @property
    def has_failed(self) -> bool:
        """Whether a run has a failure of the case that is not known."""
        return any(unit is not None and unit.verdict.is_bad for _, unit in self.results)


def trends(runs: Sequence[SavedRun]) -> list[Trend]:
    """Return the trend of each case and format, by id; `runs` are in order, the oldest first."""
    units = [run.units for run in runs]
    keys = sorted({key for one in units for key in one})
    return [
        Trend(*key, [(run, one.get(key)) for run, one in zip(runs, units, strict=True)])
        for key in keys
    ]


def sparkline(values: Iterable[float | None]) -> str:
    """Return a bar for each value, from 0 to the largest; a space where there is none."""
    listed = list(values)
    most = max((value for value in listed if value is not None), default=0.0)
    bars = []
    for value in listed:
        height = round(value / most * (len(BARS) - 1)) if value is not None and most else 0
        bars.append(" " if value is None else BARS[height])
    return "".join(bars)
