"""A run: send units to the lanes, send events to the reports, and record the results."""

from __future__ import annotations

import contextlib
import fnmatch
import itertools
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from qbdcheck import clock
from qbdcheck.catalogue.history import Elapsed, RunRecord, append_history
from qbdcheck.catalogue.results_root import RunningMark, link_latest, tidy
from qbdcheck.exit_code import ExitCode
from qbdcheck.files import COMMAND, ROOT
from qbdcheck.options import Execution, TargetOptions
from qbdcheck.report.causes import MASS, Contradiction, causes_of, suspects
from qbdcheck.report.events import (
    CaseEnded,
    CasePostponed,
    CaseStarted,
    Cause,
    Event,
    FirstTry,
    GuestTestEnded,
    LooksLike,
    RunEnded,
    RunStarted,
    TestEnded,
)
from qbdcheck.report.reporter import Reporter
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.child import LOG
from qbdcheck.runner.experiments import Experiments, chosen
from qbdcheck.runner.lanes import SUITE_TIME_LIMIT, Lanes, Place, UnitRunner, Watcher
from qbdcheck.runner.reaper import Reaper
from qbdcheck.runner.retries import Retries
from qbdcheck.runner.verdict_rules import (
    KnownFailure,
    apply_baseline,
    apply_deviation,
    apply_waiver,
)
from qbdcheck.saved.baseline import Baseline
from qbdcheck.seed import repeat_seed
from qbdcheck.verdict import Verdict

_LOST = "the run ended before the case had a result: a fault of qbdcheck, please report it"


@dataclass(frozen=True)
class _Held:
    """A unit whose first try was starved, with what `Run.finished` gets of it."""

    unit: Unit
    result: Result
    elapsed_s: float
    artefacts: tuple[Path, ...]

    @property
    def first_try(self) -> FirstTry:
        assert self.result.starved is not None
        return FirstTry(
            self.result.verdict, self.result.message, self.elapsed_s, self.result.starved
        )


@dataclass
class Run:
    """One run of `planned` units. `qbdcheck.pytest_integration.session.build_run` builds it.

    :ivar verdict_before: returns the result of a unit that need not start (not run, or broken
        because its file cannot be read), else None.
    :ivar deviation_of: returns where the failure of a unit is documented; None for a unit that
        must pass.
    :ivar rerun_command: returns the command that runs one unit again.
    :ivar target_name: the name in the profile, which reports print instead of a path.
    :ivar waives: policies that the profile waives.
    :ivar facts: with ``capabilities`` and ``withdrawn``, those of `RunStarted`.
    :ivar contradictions: probes the claims of the target to some capabilities, and returns those
        that do not hold. It is called after a mass failure.
    :ivar experiment_on: makes the unit of the experiment on a failure; None: there are none.
    :ivar allowed_reasons: patterns (fnmatch) of the reasons for "not run" that --strict allows;
        None without --strict.
    :ivar make_lanes: makes what runs units elsewhere than in children of this process; its last
        argument asks for one unit at a time on each machine.
    :ivar shard: ``I/N`` of --shard, or empty.
    :ivar baseline: the known failures of the target (--baseline).
    """

    target: TargetOptions
    execution: Execution
    planned: Sequence[Unit]
    reports: Sequence[Reporter]
    verdict_before: Callable[[Unit], Result | None]
    deviation_of: Callable[[Unit], KnownFailure | None]
    rerun_command: Callable[[Unit], str]
    reaper: Reaper
    target_name: str = ""
    keep_timelines: bool = False
    environment: Mapping[str, str] = field(default_factory=dict)
    facts: Mapping[str, str] = field(default_factory=dict)
    capabilities: Sequence[str] = ()
    withdrawn: Sequence[str] = ()
    allowed_reasons: Sequence[str] | None = None
    waives: frozenset[str] = frozenset()
    baseline: Baseline | None = None
    contradictions: Callable[[frozenset[str]], Sequence[Contradiction]] | None = None
    make_lanes: Callable[[Place, Watcher, bool], UnitRunner] | None = None
    experiment_on: Callable[[Unit, CaseEnded], Unit] | None = None
    shard: str = ""
    setup_error: str = ""
    """Why the target or the machine cannot be prepared, in one line; the exit code is then 2."""
    interrupted: str = ""
    ended: list[CaseEnded] = field(default_factory=list)

    def __post_init__(self) -> None:
        formats = {unit.image_format for unit in self.planned}
        self._elapsed = {
            one: Elapsed.load(self.execution.cache_dir, self.target.name, one) for one in formats
        }
        self._lanes: UnitRunner | None = None
        self._failed: dict[tuple[str, str], Unit] = {}
        self._stopped_after = ""
        self._held: dict[tuple[str, int], _Held] = {}
        self._unfinished: dict[tuple[str, str, int], Unit] = {}
        self._numbers = itertools.count(1)
        self._record: RunRecord | None = None

    def execute(self) -> ExitCode:
        """Run all units, close all reports, and return the exit code."""
        started_s, clock_s = clock.wall_s(), clock.now_s()
        self._record = RunRecord(self.execution.cache_dir, self._header())
        with RunningMark(self.execution.results_dir):
            with contextlib.ExitStack() as ends:
                for report in reversed(self.reports):
                    ends.callback(report.close)
                self._emit(self._start_event(started_s))
                limit_s = self.execution.suite_timeout_s
                deadline_s = float("inf") if limit_s is None else clock_s + limit_s
                self._run_lanes(deadline_s)
                self._retry(deadline_s)
                causes = causes_of(self.ended, self._contradictions())
                self._experiment(causes, deadline_s)
                code, elapsed_s = self._exit_code(), clock.now_s() - clock_s
                self._emit(
                    RunEnded(
                        elapsed_s,
                        self.counts,
                        code,
                        interrupted=bool(self.interrupted),
                        stopped=self.interrupted or self._stopped_after,
                        causes=causes,
                        looks_like=self._looks_like(),
                    )
                )
            self._remember(started_s, elapsed_s, code)
        link_latest(self.execution.results_dir.parent)  # only of runs that have ended
        return code

    def _contradictions(self) -> Sequence[Contradiction]:
        """Return the claims that do not hold, after a mass failure; () if the run was stopped."""
        failed = sum(case.verdict.is_bad for case in self.ended)
        if self.contradictions is None or self.interrupted or self.setup_error or failed < MASS:
            return ()
        return self.contradictions(suspects(self.ended))

    def _looks_like(self) -> tuple[LooksLike, ...]:
        if not any(case.verdict is Verdict.FAIL for case in self.ended):
            return ()
        # Only a run that failed needs the fingerprints and the catalogue of mutants.
        from qbdcheck.report.likeness import looks_like

        return looks_like(self.ended)

    def _start_event(self, started_s: float) -> RunStarted:
        options = self.execution
        return RunStarted(
            run_id=options.run_id,
            seed=options.seed,
            target=self.target_name or self.target.name,
            formats=self.target.formats,
            selected=len(self.planned),
            lanes=options.lanes,
            started_s=started_s,
            environment=dict(self.environment),
            facts=dict(self.facts),
            capabilities=tuple(self.capabilities),
            withdrawn=tuple(self.withdrawn),
            shard=self.shard,
        )

    @property
    def counts(self) -> dict[str, int]:
        """Number of units with each verdict, by its name in lower case."""
        verdicts = [case.verdict for case in self.ended]
        return {verdict.name.lower(): verdicts.count(verdict) for verdict in Verdict}

    @property
    def _place(self) -> Place:
        options = self.execution
        return Place(
            self.reaper.scratch_root,
            options.results_dir,
            keep=options.keep,
            show_logs="*.log" if options.debug else LOG if self.target.print_server else "",
            keep_timelines=self.keep_timelines,
        )

    def _retry(self, deadline_s: float) -> None:
        """Run the failed cases again, if --retry requests it, and report the rates."""
        if not self.execution.retry or self.interrupted or self.setup_error:
            return
        retries = Retries(
            list(self._failed.values()),
            self.execution.retry,
            self._place,
            self._new_lanes,
            self._judged,
            self.tick,
        )
        for event in retries.run(deadline_s):
            self._emit(event)
        self.interrupted = retries.stopped

    def _experiment(self, causes: Sequence[Cause], deadline_s: float) -> None:
        """Find out under which conditions the first failure of each cause occurs."""
        make = self.experiment_on
        if make is None or self.make_lanes is not None or self.interrupted or self.setup_error:
            return
        units = [
            (case, make(self._failed[case.case_id, case.image_format], case))
            for case in chosen(causes, self.ended)
        ]
        experiments = Experiments(units, self._place, self._new_lanes, self.tick)
        for event in experiments.run(deadline_s):
            self._emit(event)
        if experiments.stopped.startswith("SIG"):  # the time limit of the run ends only them
            self.interrupted = experiments.stopped

    def _new_lanes(self, place: Place, watcher: Watcher, alone: bool) -> UnitRunner:
        if self.make_lanes is not None:
            return self.make_lanes(place, watcher, alone)
        count = 1 if alone else self.execution.lanes
        return Lanes(count, place, self.reaper, watcher, self._numbers)

    def _run_lanes(self, deadline_s: float) -> None:
        self._lanes = self._new_lanes(self._place, self, alone=False)
        units = self._units()
        self._lanes.run(units, deadline_s)
        if self._held and not self._lanes.stopped:
            self._run_again(deadline_s)
        if self._lanes.stopped == SUITE_TIME_LIMIT:
            for unit in units:
                self.finished(unit, Result(Verdict.NOT_RUN, reasons=(SUITE_TIME_LIMIT,)), 0.0, [])
        for held in self._held.values():
            self._end(held.unit, held.result, held.elapsed_s, held.artefacts)
        if not self.setup_error:
            self.interrupted = self._lanes.stopped
        if not self._lanes.stopped:  # a run that lost a case must not be green
            for unit in (*self._unfinished.values(), *units):
                self._end(unit, Result(Verdict.BROKEN, _LOST), 0.0, ())

    def _run_again(self, deadline_s: float) -> None:
        """Run the units that were starved again, one at a time, with nothing beside them."""
        units = [replace(held.unit, is_second_try=True) for held in self._held.values()]
        self._lanes = self._new_lanes(self._place, self, alone=True)
        self._lanes.run(iter(units), deadline_s)

    def _units(self) -> Iterator[Unit]:
        """Yield the units that lanes start, repeated as requested; finish the others here."""
        options = self.execution
        began_s, repetition = clock.now_s(), 0
        while not self._lanes_stopped():
            run_seed = repeat_seed(options.seed, repetition)
            for planned in self.planned:
                unit = replace(planned, run_seed=run_seed, repetition=repetition)
                if (result := self.verdict_before(unit)) is not None:
                    self.finished(unit, result, 0.0, [])
                else:
                    self._unfinished[(*unit.key, repetition)] = unit
                    yield unit
                if options.until_fail and self._bad_cases:
                    return
                if (limit := self._limit_reached(began_s)) is not None:
                    self._stopped_after = limit
                    return
            repetition += 1
            endless = options.until_fail and options.repeat == 1
            if repetition >= options.repeat and not (endless and self._has_executed()):
                return

    def _limit_reached(self, began_s: float) -> str | None:
        """Return the option because of which no further case starts, with its limit."""
        failures, budget_s = self.execution.stop_after, self.execution.budget_s
        if failures and self._bad_cases >= failures:
            return f"--stop-after: {failures} failure{'s' * (failures != 1)}"
        return f"--budget: {budget_s:g} s" if 0 < budget_s <= clock.now_s() - began_s else None

    @property
    def _bad_cases(self) -> int:
        return sum(case.verdict.is_bad for case in self.ended)

    def _lanes_stopped(self) -> bool:
        return self._lanes is not None and bool(self._lanes.stopped)

    def _has_executed(self) -> bool:
        return any(case.verdict is not Verdict.NOT_RUN for case in self.ended)

    def started(self, unit: Unit, lane: int) -> None:
        """Report that `unit` starts on `lane`."""
        case = unit.case
        self._emit(
            CaseStarted(
                case.case_id,
                case.number,
                unit.image_format,
                lane,
                clock.wall_s(),
                self._last_s(unit),
            )
        )

    def test_ended(self, unit: Unit, test: TestEnded) -> None:
        """Report the end of a test in a guest."""
        case = unit.case
        self._emit(GuestTestEnded(case.case_id, case.number, unit.image_format, test))

    def finished(
        self, unit: Unit, result: Result, elapsed_s: float, artefacts: Iterable[Path]
    ) -> None:
        """Record the result of `unit` and report it; postpone the first try of a starved unit."""
        key = (unit.case.case_id + unit.image_format, self._repetition_of(unit))
        first_try = None
        if unit.is_second_try:
            first_try = self._held.pop(key).first_try
        elif result.starved is not None and not self._fails_by_chance(unit):
            self._held[key] = held = _Held(unit, result, elapsed_s, tuple(artefacts))
            case = unit.case
            self._emit(CasePostponed(case.case_id, case.number, unit.image_format, held.first_try))
            return
        self._end(unit, result, elapsed_s, artefacts, first_try)

    def _fails_by_chance(self, unit: Unit) -> bool:
        """Return whether the profile knows a failure of the unit that depends on timing."""
        known = self.deviation_of(unit)
        return known is not None and known.sometimes

    def _repetition_of(self, unit: Unit) -> int:
        """Return the repetition that is run again; with --until-fail only the last one is."""
        return 0 if self.execution.until_fail else unit.repetition

    def _end(
        self,
        unit: Unit,
        result: Result,
        elapsed_s: float,
        artefacts: Iterable[Path],
        first_try: FirstTry | None = None,
    ) -> None:
        self._unfinished.pop((*unit.key, unit.repetition), None)
        result = self._judged(unit, result)
        case = unit.case
        basis = result.basis or case.spec.basis
        event = CaseEnded(
            case_id=case.case_id,
            number=case.number,
            sentence=case.sentence,
            groups=case.spec.groups,
            image_format=unit.image_format,
            verdict=result.verdict,
            elapsed_s=elapsed_s,
            last_s=self._last_s(unit),
            reasons=result.reasons,
            partly_not_run=result.partly_not_run,
            message=result.message,
            details=result.details,
            rerun=self.rerun_command(unit) if result.verdict.is_bad else "",
            artefacts=tuple(map(str, artefacts)),
            seed=unit.run_seed,
            path=str(case.path),
            observed=result.observed,
            tests=result.tests,
            findings=result.findings,
            basis=basis,
            waived=result.waived,
            measures=result.measures,
            starved=result.starved,
            first_try=first_try,
        )
        if result.setup_failed and not any(one.verdict is Verdict.PASS for one in self.ended):
            self.setup_error = result.message.removeprefix("in setup: ")
            if self._lanes is not None:
                self._lanes.stop("set-up failed")
        self.ended.append(event)
        if result.verdict.is_bad:
            self._failed.setdefault(unit.key, unit)
        if self._record is not None:
            self._record.done(*unit.key, is_bad=result.verdict.is_bad)
        if result.verdict is not Verdict.NOT_RUN:
            self._elapsed[unit.image_format].record(case.case_id, result.verdict, elapsed_s)
        self._emit(event)

    def show_log(self, unit: Unit, log: str) -> None:
        """Write the logs of a case (-d, -p) to standard error."""
        sys.stdout.flush()
        sys.stderr.write(f"==== {unit.name}: logs\n{log}====\n")

    def tick(self) -> None:
        """Let the reports redraw."""
        for report in self.reports:
            report.tick()

    def _judged(self, unit: Unit, result: Result) -> Result:
        """Return the result that counts."""
        known = self.deviation_of(unit)
        if known is not None:
            result = apply_deviation(result, known)
        result = apply_waiver(result, result.basis or unit.case.spec.basis, self.waives)
        if known is None and self.baseline is not None:
            result = apply_baseline(result, self.baseline, unit.key)
        return self._strict(result)

    def _strict(self, result: Result) -> Result:
        if self.allowed_reasons is None or result.verdict is not Verdict.NOT_RUN:
            return result
        for reason in result.reasons:
            if not any(fnmatch.fnmatchcase(reason, one) for one in self.allowed_reasons):
                return Result(Verdict.FAIL, f"not run, which --strict does not allow: {reason}")
        return result

    def _last_s(self, unit: Unit) -> float | None:
        return self._elapsed[unit.image_format].seconds.get(unit.case.case_id)

    def _emit(self, event: Event) -> None:
        for report in self.reports:
            report.handle(event)

    def _exit_code(self) -> ExitCode:
        if self.setup_error:
            return ExitCode.USAGE
        if self.interrupted.startswith("SIG"):
            return ExitCode.INTERRUPTED
        if self.interrupted or any(case.verdict.is_bad for case in self.ended):
            return ExitCode.RED
        return ExitCode.GREEN if self._has_executed() else ExitCode.USAGE

    def _header(self) -> dict[str, object]:
        return {
            "target": self.target.name,
            "formats": list(self.target.formats),
            "seed": self.execution.seed,
            "planned": [list(unit.key) for unit in self.planned],
        }

    def _remember(self, started_s: float, elapsed_s: float, code: int) -> None:
        for elapsed in self._elapsed.values():
            elapsed.save()
        if self._record is not None:
            self._record.close()
        options = self.execution
        tidy(options.results_dir.parent)
        bad = [case.case_id for case in self.ended if case.verdict.is_bad]
        append_history(
            options.cache_dir,
            {
                "run": options.run_id,
                "started_s": started_s,
                "elapsed_s": round(elapsed_s, 3),
                "target": self.target.name,
                "formats": list(self.target.formats),
                "seed": options.seed,
                "exit_code": code,
                "bad": bad,
                **self.counts,
            },
        )


def rerun_command(suites_dir: Path, target: TargetOptions, golden_dir: Path, unit: Unit) -> str:
    """Return the command that runs only `unit` again, with its seed."""
    argv = [COMMAND, "-t", target.name, f"-{unit.image_format}"]
    if target.cache != "writeback":
        argv += ["-c", target.cache]
    if target.aio is not None:
        argv += ["-i", target.aio]
    if target.image_options:
        argv += ["-o", target.image_options]
    for flag, path, default in (
        ("--suites-dir", suites_dir, "suites"),
        ("--golden-dir", golden_dir, "golden"),
        ("--targets-dir", target.targets_dir, "targets"),
    ):
        if path != ROOT / default:
            argv += [flag, os.fspath(path)]
    return shlex.join([*argv, "--seed", str(unit.run_seed), str(unit.case.number)])
