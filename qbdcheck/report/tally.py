"""The state of a run, from which several reports are made."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from qbdcheck.report.events import (
    CaseEnded,
    CaseExperiment,
    CasePostponed,
    CaseRetried,
    CaseStarted,
    Event,
    GuestTestEnded,
    RunEnded,
    RunStarted,
    TestEnded,
)
from qbdcheck.verdict import Verdict


@dataclass
class Tally:
    """The events of a run, sorted into started, running and ended."""

    run: RunStarted | None = None
    end: RunEnded | None = None
    cases: list[CaseEnded] = field(default_factory=list)
    running: dict[int, CaseStarted] = field(default_factory=dict)
    """The running case of each lane."""
    retries: list[CaseRetried] = field(default_factory=list)
    experiments: list[CaseExperiment] = field(default_factory=list)
    guest_tests: dict[tuple[str, str], list[TestEnded]] = field(default_factory=dict)
    """The tests in a guest that have ended, of each running case: by its id and image format."""

    def handle(self, event: Event) -> None:
        """Handle one event."""
        match event:
            case RunStarted():
                self.run = event
            case CaseStarted():
                self.running[event.lane] = event
            case GuestTestEnded():
                key = event.case_id, event.image_format
                self.guest_tests.setdefault(key, []).append(event.test)
            case CasePostponed():
                self._leave_lane(event)
            case CaseEnded():
                self.cases.append(event)
                self._leave_lane(event)
            case CaseRetried():
                self.retries.append(event)
            case CaseExperiment():
                self.experiments.append(event)
            case RunEnded():
                self.end = event

    def _leave_lane(self, ended: CaseEnded | CasePostponed) -> None:
        self.guest_tests.pop((ended.case_id, ended.image_format), None)
        for lane, started in self.running.items():
            if (started.case_id, started.image_format) == (ended.case_id, ended.image_format):
                del self.running[lane]
                return

    def retried(self, case: CaseEnded) -> CaseRetried | None:
        """Return how often a failed case failed again; None without --retry."""
        key = (case.case_id, case.image_format)
        found = (one for one in self.retries if (one.case_id, one.image_format) == key)
        return next(found, None)

    def experiment_of(self, case: CaseEnded) -> CaseExperiment | None:
        """Return the experiment on a failed case; None without one."""
        key = (case.case_id, case.image_format)
        found = (one for one in self.experiments if (one.case_id, one.image_format) == key)
        return next(found, None)

    def with_verdict(self, *verdicts: Verdict) -> list[CaseEnded]:
        """Return the ended cases with one of `verdicts`, by number, then format."""
        chosen = [case for case in self.cases if case.verdict in verdicts]
        return sorted(chosen, key=lambda case: (case.number, case.image_format))

    @property
    def counts(self) -> dict[str, int]:
        """The number of cases by verdict; every verdict is a key, such as ``not_run``."""
        counted = Counter(case.verdict for case in self.cases)
        return {verdict.name.lower(): counted[verdict] for verdict in Verdict}

    @property
    def executed(self) -> int:
        """The number of cases that ran."""
        return sum(case.verdict is not Verdict.NOT_RUN for case in self.cases)
