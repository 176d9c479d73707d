"""The order in which cases find bugs early."""

from __future__ import annotations

from pathlib import Path

from qbdcheck.catalogue.plan import best_cases
from qbdcheck.files import ROOT
from tools.best_first import greedy, of_fingerprints, of_matrix


def test_the_next_case_is_the_one_with_the_most_new_bugs_per_second() -> None:
    kills = {"a": {"1", "2", "3"}, "b": {"1", "2"}, "c": {"4"}, "useless": {"1"}}
    assert greedy(kills, {"a": 3.0, "b": 0.5, "c": 1.0, "useless": 9.0}) == ["b", "c", "a"]


def test_only_kills_of_bugs_count() -> None:
    lines = [
        '{"id": "x", "control": false, "cases": {"001": [1.2, "fail", ["torn"], ""], "2": [0.1]}}',
        '{"id": "legal", "control": true, "cases": {"001": [1.2, "fail", [], ""]}}',
    ]
    assert list(of_fingerprints(lines)) == [("001", "x")]
    fates = [
        {"id": "x", "state": "killed", "control": False, "case": "004_a"},
        {"id": "y", "state": "alive", "control": False, "case": ""},
    ]
    assert list(of_matrix(fates)) == [("004", "x")]


def test_the_list_of_the_suites_has_only_cases_that_exist() -> None:
    best = best_cases(ROOT / "suites")
    assert len(best) > 50
    assert {path.stem for path in Path(ROOT / "suites").glob("*/*.py")} >= set(best)
