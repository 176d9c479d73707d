"""Known failures: what they cover, and the file that lists them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from oracles.damage import Damage
from oracles.finding import Finding
from qbdcheck.errors import UsageError
from qbdcheck.saved.baseline import Baseline, Known, load

CASES = {"001_a", "002_b"}
STALE, TORN = Finding(Damage.STALE, 512, 512), Finding(Damage.TORN, 512, 512)


def write(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


def test_damage_of_another_kind_is_not_known(tmp_path: Path) -> None:
    known = Known("001_a", "raw", ("stale",), "sector 1: stale")
    baseline = Baseline(tmp_path / "b", "mine", [known])
    assert baseline.failed("001_a", "raw", [STALE, STALE], "sector 9: stale") == known
    assert baseline.failed("001_a", "raw", [STALE, TORN], "sector 1: stale") is None
    assert baseline.failed("001_a", "raw", [], "sector 1: stale") is None, "the text is not enough"
    assert baseline.failed("001_a", "qcow2", [STALE], "") is None
    assert baseline.failed("002_b", "raw", [STALE], "") is None


def test_without_damage_the_cause_must_be_equal_apart_from_numbers(tmp_path: Path) -> None:
    known = Known("001_a", "raw", (), "line 3: expected '0x10', got 7")
    baseline = Baseline(tmp_path / "b", "mine", [known])
    assert baseline.failed("001_a", "raw", [], "line 4: expected '0xff', got 12") == known
    assert baseline.failed("001_a", "raw", [], "line 3: missing") is None
    assert baseline.failed("001_a", "raw", [STALE], "line 3: expected '0x10', got 7") is None


def test_a_pass_is_wrong_unless_the_failure_is_rare(tmp_path: Path) -> None:
    always, rare = Known("001_a", "raw", (), "x"), Known("002_b", "raw", (), "x", sometimes=True)
    baseline = Baseline(tmp_path / "b", "mine", [always, rare])
    assert baseline.passed("001_a", "raw") == always
    assert baseline.passed("002_b", "raw") is None


@pytest.mark.parametrize("name", ["known.yaml", "known.json"])
def test_an_update_keeps_what_did_not_run_and_what_people_wrote(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    first = load(path, "mine", CASES, may_miss=True)
    first.failed("001_a", "raw", [STALE], "sector 1: stale")
    first.failed("002_b", "raw", [], "line 3")
    made, new, gone = first.updated("2026-11-28")
    made.write()
    assert (new, gone) == (2, 0)
    path.write_text(path.read_text().replace("2026-11-28", "2026-01-02", 1))
    second = load(path, "mine", CASES, may_miss=False)
    assert second.known[0] == Known("001_a", "raw", ("stale",), "sector 1: stale", "2026-01-02")
    second.failed("001_a", "raw", [STALE], "sector 77: stale")
    made, new, gone = second.updated("2026-12-24")
    assert (new, gone) == (0, 0)
    assert made.known == second.known
    third = load(path, "mine", CASES, may_miss=False)
    third.failed("001_a", "raw", [TORN], "sector 5: torn")
    third.passed("002_b", "raw")
    made, new, gone = third.updated("2026-12-24")
    assert (new, gone) == (1, 2)
    assert made.known == [Known("001_a", "raw", ("torn",), "sector 5: torn", "2026-12-24")]


def test_repetitions_that_fail_in_two_ways_are_one_entry(tmp_path: Path) -> None:
    baseline = Baseline(tmp_path / "b", "mine")
    baseline.failed("001_a", "raw", [STALE], "stale")
    baseline.failed("001_a", "raw", [TORN], "torn")
    made, _, _ = baseline.updated("2026-12-24")
    assert [one.damage for one in made.known] == [("stale", "torn")]


ENTRY = "target: mine\nknown:\n- {case: 001_a, cause: x}\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("known: [", "b.yaml: while parsing"),
        ("[]", "must have the keys target and known"),
        ("target: mine\nknown: 3\n", "must have the keys"),
        ("target: other\nknown: []\n", "is the baseline of the target other, not of mine"),
        (ENTRY + "- {case: 007_x, cause: x}\n", r":4: there is no case '007_x'; write its whole"),
        (ENTRY + "- {case: 002_b}\n", r":4: cause is missing"),
        (ENTRY + "- {case: 002_b, cause: x, damge: []}\n", r":4: unknown key 'damge'; known: case"),
        (ENTRY + "- {case: 002_b, cause: x, damage: [odd]}\n", ":4: unknown damage 'odd'; known"),
        (ENTRY + "- {case: 002_b, cause: [x]}\n", r":4: cause must be a str, not \['x'\]"),
        (ENTRY + "- 7\n", ":4: an entry has the keys case, format"),
    ],
)
def test_a_wrong_file_is_one_line_that_names_its_place(
    tmp_path: Path, text: str, message: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        load(write(tmp_path / "b.yaml", text), "mine", CASES, may_miss=False)
    assert "\n" not in str(caught.value)
    with pytest.raises(UsageError, match="no such file; --update-baseline creates it"):
        load(tmp_path / "none", "mine", CASES, may_miss=False)


def test_json_is_read_too_and_a_date_may_be_unquoted(tmp_path: Path) -> None:
    content = {"target": "mine", "known": [{"case": "001_a", "cause": "x", "since": "2026-01-01"}]}
    path = write(tmp_path / "b.json", json.dumps(content))
    assert load(path, "mine", CASES, may_miss=False).known[0].since == "2026-01-01"
    path = write(tmp_path / "b.yaml", ENTRY.replace("cause: x", "cause: x, since: 2026-01-01"))
    assert load(path, "mine", CASES, may_miss=False).known[0].since == "2026-01-01"
