"""The check of the claims of the Guards: lines."""

from pathlib import Path

import pytest

from tools.guards import claims, main, naming


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
