"""A run is green only if each of its cases has a result."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NoReturn

import pytest

from qbdcheck.arguments import parse
from qbdcheck.catalogue.case import CaseInfo, make_spec
from qbdcheck.exit_code import ExitCode
from qbdcheck.runner.case_run import Result, Unit
from qbdcheck.runner.lanes import Watcher
from qbdcheck.runner.reaper import Reaper
from qbdcheck.runner.run import Run
from qbdcheck.verdict import Verdict


@dataclass
class LossyLanes:
    """Finishes the first units; sends others out that never come back."""

    watcher: Watcher
    finishes: int
    takes: int
    stops: str = ""
    stopped: str = ""

    def run(self, units: Iterator[Unit], deadline_s: float = float("inf")) -> None:
        del deadline_s
        for number, unit in enumerate(units):
            if number < self.finishes:
                self.watcher.finished(unit, Result(Verdict.PASS), 0.1, [])
            if number + 1 == self.takes:
                break
        self.stopped = self.stops

    def stop(self, why: str) -> None:
        self.stopped = why


def never(*_: object) -> NoReturn:
    raise AssertionError


def run_of_four(tmp_path: Path, finishes: int, takes: int, stops: str = "") -> tuple[int, Run]:
    options = parse(["1-4", "-t", "reference"])
    cases = [
        CaseInfo(Path(f"{number:03}_toy.py"), number, "a toy", make_spec("quick"))
        for number in range(1, 5)
    ]
    with Reaper(tmp_path) as reaper:
        run = Run(
            options.target,
            replace(options.execution, cache_dir=tmp_path / "c", results_dir=tmp_path / "r" / "1"),
            [Unit(one, "raw", 7, 60.0, never) for one in cases],
            [],
            verdict_before=lambda _: None,
            deviation_of=lambda _: None,
            rerun_command=lambda _: "",
            reaper=reaper,
            make_lanes=lambda _, watcher, __: LossyLanes(watcher, finishes, takes, stops),
        )
        return run.execute(), run


@pytest.mark.parametrize(("finishes", "takes"), [(2, 4), (2, 2), (0, 0)])
def test_a_case_whose_result_was_lost_is_broken(tmp_path: Path, finishes: int, takes: int) -> None:
    code, run = run_of_four(tmp_path, finishes, takes)
    verdicts = [case.verdict for case in run.ended]
    assert verdicts == [Verdict.PASS] * finishes + [Verdict.BROKEN] * (4 - finishes)
    assert code == ExitCode.RED
    assert "had a result" in run.ended[-1].message


def test_a_run_that_was_stopped_has_no_lost_cases(tmp_path: Path) -> None:
    code, run = run_of_four(tmp_path, 2, 3, stops="SIGINT")
    assert [case.verdict for case in run.ended] == [Verdict.PASS] * 2
    assert code == ExitCode.INTERRUPTED


def test_a_run_with_all_results_is_green(tmp_path: Path) -> None:
    code, run = run_of_four(tmp_path, 4, 4)
    assert [case.verdict for case in run.ended] == [Verdict.PASS] * 4
    assert code == ExitCode.GREEN
