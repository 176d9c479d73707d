"""One report of many: what is kept, what is said, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from qbdcheck.errors import UsageError
from qbdcheck.report.events import CaseRetried
from qbdcheck.saved.merging import merge
from qbdcheck.saved.runs import SavedRun
from qbdcheck.verdict import Verdict

Made = Callable[..., SavedRun]
FAIL = (Verdict.FAIL, {"message": "stale"})


def part(run: SavedRun, shard: str = "", **header: object) -> SavedRun:
    tally = run.tally
    assert tally.run
    environment = {"qbdcheck": "0.1.0 (abc)", "cores": "2"}
    fields = {"shard": shard, "environment": environment, **header}
    fresh = replace(tally.run, **fields)  # type: ignore[arg-type]
    return SavedRun(run.name, replace(tally, run=fresh, running={}))


def test_shards_become_one_run(saved: Made) -> None:
    one = part(saved((1,), (3, *FAIL), run_id="a"), "1/2", seed=5, started_s=200.0)
    two = part(saved((2,), (4, Verdict.NOT_RUN), run_id="b"), "2/2", seed=6, started_s=100.0)
    two.tally.retries.append(CaseRetried("003_it", 3, "raw", 1, 1, 1, 0))
    made = merge([one, two])
    assert made.remarks == []
    run, end = made.tally.run, made.tally.end
    assert run
    assert end
    assert [case.number for case in made.tally.cases] == [1, 2, 3, 4]
    assert (run.run_id, run.selected, run.started_s, run.shard) == ("b+1", 4, 100.0, "")
    assert run.environment == {"qbdcheck": "0.1.0 (abc)", "cores": "2", "seeds": "5 | 6"}
    assert end.counts == {"fail": 1, "broken": 0, "known": 0, "pass": 2, "not_run": 1}
    assert (end.exit_code, end.stopped, len(made.tally.retries)) == (1, "", 1)


def test_missing_shards_are_named_and_make_the_run_red(saved: Made) -> None:
    made = merge([part(saved((1,)), "2/4"), part(saved((2,)), "3/4")])
    assert made.remarks == ["missing shards: 1/4, 4/4"]
    assert made.tally.end
    assert (made.tally.end.exit_code, made.tally.end.stopped) == (1, "a part is missing")
    made = merge([part(saved((1,)), "1/2"), part(saved((2,)), "2/3")])
    assert made.remarks[0] == "shards of different divisions: 1/2, 2/3"


def test_a_part_that_was_interrupted_makes_the_run_red(saved: Made) -> None:
    made = merge([part(saved((1,))), part(saved((2,), interrupted=True, run_id="b"))])
    assert made.remarks == ["b: the run ended early (1 of 1 cases)"]
    assert made.tally.end
    assert made.tally.end.exit_code == 1
    assert made.tally.end.interrupted


def test_of_a_case_in_two_reports_the_worst_counts(saved: Made) -> None:
    made = merge([part(saved((1, *FAIL), (2,))), part(saved((1,), (3,)))])
    assert made.remarks == ["001_it raw: in 2 reports (fail, pass); the worst counts"]
    assert [case.verdict.value for case in made.tally.cases] == ["fail", "pass", "pass"]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"target": "other"}, "a and b have different targets, mine and other: they are not"),
        (
            {"environment": {"qbdcheck": "0.1.0 (def)"}},
            r"different versions of qbdcheck, 0.1.0 \(a",
        ),
        ({"formats": ("qcow2",)}, "have different image formats"),
    ],
)
def test_parts_of_different_runs_are_refused(
    saved: Made, header: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        merge([part(saved((1,), run_id="a")), part(saved((2,), run_id="b"), **header)])  # type: ignore[arg-type]
