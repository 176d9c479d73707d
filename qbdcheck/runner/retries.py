"""Run failed units again, alone, with the same seed and with others (--retry)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qbdcheck.report.events import CaseRetried, TestEnded
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.lanes import Place, UnitRunner, Watcher
from qbdcheck.seed import Seed


@dataclass
class Retries:
    """Runs each of `units` `count` times with its own seed, and `count` times with others.

    :ivar make_lanes: makes what runs them, one at a time.
    :ivar judge: returns the result that counts: with deviations and known failures applied.
    :ivar tick: called a few times a second.
    """

    units: Sequence[Unit]
    count: int
    place: Place
    make_lanes: Callable[[Place, Watcher, bool], UnitRunner]
    judge: Callable[[Unit, Result], Result]
    tick: Callable[[], None]
    stopped: str = ""
    """Why the retries ended early; empty if they did not."""
    _bad: dict[int, bool] = field(default_factory=dict)
    """Whether a repetition failed."""

    def run(self, deadline_s: float) -> Iterator[CaseRetried]:
        """Yield the rates of each unit when they are known."""
        for number, unit in enumerate(self.units):
            self._bad.clear()
            again = self._repetitions(unit)
            scratch = self.place.scratch_root / f"r{number:x}"
            scratch.mkdir(mode=0o700)
            place = replace(self.place, scratch_root=scratch)
            lanes = self.make_lanes(place, self, True)
            lanes.run(iter(again), deadline_s)
            if lanes.stopped:
                self.stopped = lanes.stopped
                return
            yield self._rates(unit, again)

    def _repetitions(self, unit: Unit) -> list[Unit]:
        """Return the runs: first those with the same seed."""
        first = unit.repetition + 1
        same = [replace(unit, repetition=first + index) for index in range(self.count)]
        return same + [
            replace(
                unit,
                run_seed=Seed(unit.run_seed).derive("retry", index),
                repetition=first + self.count + index,
            )
            for index in range(self.count)
        ]

    def _rates(self, unit: Unit, again: Sequence[Unit]) -> CaseRetried:
        same, other = again[: self.count], again[self.count :]
        failing = tuple(one.run_seed for one in other if self._bad[one.repetition])
        return CaseRetried(
            case_id=unit.case.case_id,
            number=unit.case.number,
            image_format=unit.image_format,
            runs_same=len(same),
            failed_same=sum(self._bad[one.repetition] for one in same),
            runs_other=len(other),
            failed_other=len(failing),
            failing_seeds=failing,
        )

    def started(self, unit: Unit, lane: int) -> None:
        """Do nothing: the reports count each case once."""

    def test_ended(self, unit: Unit, test: TestEnded) -> None:
        """Do nothing: the first failure was shown."""

    def finished(
        self,
        unit: Unit,
        result: Result,
        elapsed_s: float,  # noqa: ARG002
        artefacts: list[Path],  # noqa: ARG002
    ) -> None:
        """Count one run."""
        self._bad[unit.repetition] = self.judge(unit, result).verdict.is_bad

    def show_log(self, unit: Unit, log: str) -> None:
        """Do nothing: the log of the first failure was shown."""
