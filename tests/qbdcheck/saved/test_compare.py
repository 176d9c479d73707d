"""The comparison of two runs."""

from __future__ import annotations

from collections.abc import Callable

from qbdcheck.saved.compare import compare
from qbdcheck.saved.runs import SavedRun
from qbdcheck.verdict import Verdict

Made = Callable[..., SavedRun]
FAIL = (Verdict.FAIL, {"message": "sector 8 is stale"})
OTHER = (Verdict.FAIL, {"message": "no answer within 3 s"})
BROKEN = (Verdict.BROKEN, {"message": "the fault never fired"})
NOT_RUN = (Verdict.NOT_RUN, {"reasons": ("target lacks resize",)})


def listed(before: SavedRun, after: SavedRun) -> dict[str, list[tuple[str, str]]]:
    made = compare(before, after).lists
    return {
        name: [(one.case_id[:3], one.said) for one in made[name]] for name in made if made[name]
    }


def test_each_change_is_in_its_list(saved: Made) -> None:
    before = saved((1,), (2, *FAIL), (3, *FAIL), (4,), (5, *FAIL), (6, *NOT_RUN), (7,))
    after = saved(
        (1, *FAIL), (2,), (3, *FAIL), (4, *NOT_RUN), (5, *OTHER), (6, *BROKEN), (8, *FAIL)
    )
    assert listed(before, after) == {
        "new failures": [
            ("001", "was pass, now fail: sector 8 is stale"),
            ("006", "was not run, now broken: the fault never fired"),
            ("008", "was not selected, now fail: sector 8 is stale"),
        ],
        "still failing": [
            ("003", "sector 8 is stale"),
            ("005", "no answer within 3 s (before: sector 8 is stale)"),
        ],
        "fixed": [("002", "was: sector 8 is stale")],
        "newly not run": [
            ("004", "was pass, now not run: target lacks resize"),
            ("007", "was pass, now not selected"),
        ],
    }


def test_a_case_with_a_new_name_is_the_same_case(saved: Made) -> None:
    before, after = saved((1, *FAIL), (2,), (3,)), saved((1, *FAIL), (2, *FAIL), (4,))
    for one in after.tally.cases:
        object.__setattr__(one, "case_id", f"{one.case_id}_renamed")
    found = listed(before, after)
    assert [said for _, said in found["still failing"]] == [
        f"sector 8 is stale (its name was {before.tally.cases[0].case_id})"
    ]
    assert [case for case, _ in found["new failures"]] == ["002"]
    assert [case for case, _ in found["newly not run"]] == ["003"]


def test_a_failure_that_did_not_run_again_is_not_fixed(saved: Made) -> None:
    assert list(listed(saved((1, *FAIL)), saved((1, *NOT_RUN)))) == ["newly not run"]
    changes = listed(saved((1, *FAIL)), saved(interrupted=True))
    assert changes == {"newly not run": [("001", "was fail, now not reached: the run ended early")]}


def test_slower_needs_both_a_factor_and_half_a_second(saved: Made) -> None:
    def times(*seconds: float) -> SavedRun:
        return saved(*((n, Verdict.PASS, {"elapsed_s": s}) for n, s in enumerate(seconds, 1)))

    changes = listed(times(0.1, 10.0, 1.0, 4.0), times(0.5, 12.0, 1.6, 2.0))
    assert changes == {"slower": [("003", "1.0 s, now 1.6 s")]}


def test_repetitions_that_differ_are_flaky_and_a_new_failure(saved: Made) -> None:
    changes = listed(saved((1,)), saved((1,), (1, *FAIL), (1,)))
    assert changes == {
        "flaky": [("001", "failed 1 of 3")],
        "new failures": [("001", "was pass, now fail: sector 8 is stale (failed 1 of 3)")],
    }


def test_formats_are_cases_of_their_own(saved: Made) -> None:
    qcow2 = {"image_format": "qcow2"}
    after = saved((1,), (1, Verdict.FAIL, {**qcow2, "message": "wrong"}))
    made = compare(saved((1,), (1, Verdict.PASS, qcow2)), after)
    assert [(one.case_id, one.image_format) for one in made.new_failures] == [("001_it", "qcow2")]


def test_equal_runs_have_no_change(saved: Made) -> None:
    assert listed(saved((1,), (2, *NOT_RUN)), saved((1,), (2, *NOT_RUN))) == {}
