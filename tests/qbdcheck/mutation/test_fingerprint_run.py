"""`./check --mutants --fingerprints FILE`: real samples of real mutants."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.files import ROOT
from qbdcheck.mutation.fingerprint_run import outcome_of
from qbdcheck.report import fingerprints


def check(place: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qbdcheck", *arguments],
        cwd=ROOT,
        env={**os.environ, "XDG_CACHE_HOME": str(place)},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_all_cases_run_and_an_existing_file_is_continued(tmp_path: Path) -> None:
    file = tmp_path / "found.jsonl"
    cases = ["14", "32", "60"]
    arguments = ["--mutants", "write-zeroes-noop", *cases, "--fingerprints", str(file)]
    done = check(tmp_path, *arguments)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "write-zeroes-noop" in done.stdout
    assert "2 of   3 cases failed" in done.stdout
    (first,) = fingerprints.read(file)
    assert (first.id, first.group, first.seed, first.cut) == ("write-zeroes-noop", "zeroes", 1, "")
    assert {case: one.is_bad for case, one in first.cases.items()} == {
        "014": False, "032": True, "060": True,
    }  # fmt: skip
    assert set(first.cases["032"].damage) <= {"never written", "stale", "torn", "unknown"}
    assert first.cases["032"].shape == "write zeroes"
    assert all(one.seconds > 0 for one in first.cases.values())
    # The first sample is not measured again, and each sample has a seed of its own.
    done = check(tmp_path, *arguments, "--repeat", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("cases failed") == 1
    again, second = fingerprints.read(file)
    assert again == first
    assert second.seed == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--fingerprints", "f.jsonl", "1"], "--fingerprints requires --mutants"),
        (["--mutants", "phantom-write", "1", "--fingerprints", "/gone/f.jsonl"],
         "/gone/f.jsonl: cannot be written: No such file or directory"),
        (["--mutants", "phantom-write", "1", "--fingerprints", "f.jsonl.gz"],
         "f.jsonl.gz: write to a name without .gz, and compress it afterwards"),
        (["--mutants", "phantom-write", "1", "--fingerprints", "README.md"],
         "README.md: line 1 is no fingerprint"),
    ],
)  # fmt: skip
def test_wrong_use_is_refused(tmp_path: Path, arguments: list[str], message: str) -> None:
    done = check(tmp_path, *arguments)
    assert done.returncode == 2, done.stdout
    assert message in done.stderr


def test_a_case_that_was_not_run_is_unknown() -> None:
    assert outcome_of({"event": "case_ended", "verdict": "not_run", "number": 1}) is None
    assert outcome_of({"event": "case_started", "number": 1}) is None
