"""Experiments on failures at the end of a run: one unit for the first failure of each cause."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qbdcheck.report.events import CaseEnded, CaseExperiment, Cause, TestEnded
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.lanes import Place, UnitRunner, Watcher
from qbdcheck.verdict import Verdict

MOST = 3
"""Causes of a run on which there is an experiment."""
LIMIT_S = 90.0
"""The time limit of the process of an experiment, which ends itself much earlier."""


def chosen(causes: Sequence[Cause], ended: Sequence[CaseEnded]) -> list[CaseEnded]:
    """Return the failure of each cause on which an experiment can be made, the first causes first.

    It is the one to read first, or else the first one whose requests were recorded.
    """
    found: list[CaseEnded] = []
    for cause in causes[:MOST]:
        numbers = (cause.read_first, *cause.cases)
        failed = [
            case
            for number in numbers
            for case in ended
            if f"{case.number:03d}" == number and case.verdict is Verdict.FAIL
        ]
        able = [case for case in failed if any(one.record is not None for one in case.findings)]
        found += [case for case in (able or failed)[:1] if case not in found]
    return found


@dataclass
class Experiments:
    """Runs one experiment after another, each in a process like that of a case.

    :ivar units: each failure with the unit that makes the experiment on it.
    :ivar make_lanes: makes what runs them. :ivar tick: called a few times a second.
    """

    units: Sequence[tuple[CaseEnded, Unit]]
    place: Place
    make_lanes: Callable[[Place, Watcher, bool], UnitRunner]
    tick: Callable[[], None]
    stopped: str = ""
    """Why they ended early; empty if they did not."""
    _result: Result | None = field(default=None)

    def run(self, deadline_s: float) -> Iterator[CaseExperiment]:
        """Yield what each experiment found out."""
        for number, (case, unit) in enumerate(self.units):
            self._result = None
            scratch = self.place.scratch_root / f"e{number:x}"
            scratch.mkdir(mode=0o700)
            kept = self.place.results_dir / "experiments"
            place = replace(self.place, scratch_root=scratch, results_dir=kept, show_logs="")
            lanes = self.make_lanes(place, self, True)
            lanes.run(iter([unit]), deadline_s)
            if lanes.stopped:
                self.stopped = lanes.stopped
                return
            found = self._result.experiment if self._result is not None else None
            if found is None:
                found = self._lost()
            yield replace(
                found,
                case_id=case.case_id,
                number=case.number,
                image_format=case.image_format,
            )

    def _lost(self) -> CaseExperiment:
        """Return the experiment whose process had no result: it died, or its time was over."""
        why = self._result.message if self._result is not None else "it had no result"
        sentence = f"Not tried: the experiment did not come to its end ({why})."
        return CaseExperiment("", 0, "", "not tried", sentence, is_complete=False)

    def started(self, unit: Unit, lane: int) -> None:
        """Do nothing: it is no case."""

    def test_ended(self, unit: Unit, test: TestEnded) -> None:
        """Do nothing: it has no tests."""

    def finished(
        self,
        unit: Unit,  # noqa: ARG002
        result: Result,
        elapsed_s: float,  # noqa: ARG002
        artefacts: list[Path],  # noqa: ARG002
    ) -> None:
        """Keep the result."""
        self._result = result

    def show_log(self, unit: Unit, log: str) -> None:
        """Do nothing: the log of the failure was shown."""
