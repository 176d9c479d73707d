"""The check of the claims of the Guards: lines."""

import json
from pathlib import Path

import pytest

from tools.guards import claims, corrected, main, measured, naming


def test_cases_are_listed_by_the_bugs_that_they_name(tmp_path: Path) -> None:
    one, other = tmp_path / "001_one.py", tmp_path / "002_other.py"
    one.write_text('"""Writes.\n\nGuards: torn-write, flush-\nnoop.\n"""\n')
    other.write_text('"""Reads.\n\nGuards: torn-write.\n"""\n')
    assert naming([other, one]) == {
        "torn-write": ["001_one", "002_other"],
        "flush-noop": ["001_one"],
    }


def test_a_case_that_passes_on_the_bug_that_it_names_is_a_miss() -> None:
    verdicts = {"001_one": "fail", "002_other": "pass", "003_third": "not run", "004_d": "broken"}
    cases = [*verdicts, "005_never_started"]
    assert claims(verdicts, cases) == {
        "kills": ["001_one"],
        "misses": ["002_other"],
        "no_verdict": ["003_third", "004_d", "005_never_started"],
    }


def test_an_id_that_no_case_names_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["-j", "1", "no-such-bug"]) == 2
    assert capsys.readouterr().err == "guards.py: no case that runs here names no-such-bug\n"


CASE = '''"""This case checks that x.

How: it writes.
Guards: torn-write, flush-noop,
event-not-sent.
Related: phantom-write, size-zero.
"""

from qbdcheck.kit import case
'''


def test_a_bug_that_was_never_found_is_related_and_one_that_was_found_is_guarded(
    tmp_path: Path,
) -> None:
    case = tmp_path / "001_x.py"
    case.write_text(CASE)
    found = {"torn-write": False, "flush-noop": True, "phantom-write": True}
    lines = "Guards: flush-noop, event-not-sent, phantom-write.\nRelated: torn-write, size-zero.\n"
    head, _, _ = CASE.partition("Guards:")
    assert corrected(case, found) == f'{head}{lines}"""\n\nfrom qbdcheck.kit import case\n'
    assert corrected(case, {}) == CASE


def test_a_case_that_finds_no_bug_has_related_bugs_only(tmp_path: Path) -> None:
    case = tmp_path / "001_x.py"
    case.write_text('"""Writes.\n\nGuards: torn-write.\n"""\n')
    assert corrected(case, {"torn-write": False}) == '"""Writes.\n\nRelated: torn-write.\n"""\n'


def test_a_bug_that_one_of_two_runs_found_was_found(tmp_path: Path) -> None:
    runs = [tmp_path / "one.jsonl", tmp_path / "two.jsonl"]
    one = {"id": "torn-write", "kills": ["001_x"], "misses": ["002_y"], "no_verdict": []}
    two = {"id": "torn-write", "kills": [], "misses": ["001_x"], "no_verdict": ["002_y"]}
    for run, line in zip(runs, (one, two), strict=True):
        run.write_text(f"{json.dumps(line)}\n")
    assert measured(runs) == {"001_x": {"torn-write": True}, "002_y": {"torn-write": False}}
