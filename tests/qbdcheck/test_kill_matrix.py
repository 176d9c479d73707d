"""`./check --mutants` as a user starts it: real runs against real mutants."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from mutants.catalogue import catalogue
from qbdcheck import kill_matrix
from qbdcheck.arguments import parse

ROOT = Path(__file__).parents[2]


def check(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "qbdcheck", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_mutant_is_killed_and_a_control_lives(tmp_path: Path) -> None:
    report = tmp_path / "kill.json"
    done = check("--mutants", "phantom-write", "control-plain", "1-2", "--json", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Killed 1 of 1 mutants" in done.stdout
    dead, alive = json.loads(report.read_text())
    assert (dead["id"], dead["killed"]) == ("phantom-write", True)
    assert dead["case"].startswith("00")
    assert dead["diagnosis"]
    assert dead["named"]
    assert (alive["control"], alive["killed"], alive["cases"]) == (True, False, 2)


def test_a_mutant_that_no_case_sees_is_told_and_is_no_success() -> None:
    done = check("--mutants", "long-name-smash", "1")
    assert done.returncode == 1
    assert "Alive: long-name-smash" in done.stdout


def test_a_diagnosis_that_names_another_damage_is_marked(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(catalogue()["phantom-write"], "shows", "bit flip")
    kill_matrix.main(parse(["--mutants", "phantom-write", "1-5"]))
    said = capsys.readouterr().out
    assert "Killed 1 of 1 mutants" in said
    assert "Not named: phantom-write" in said


def test_an_unknown_mutant_is_refused() -> None:
    done = check("--mutants", "phantom-wirte")
    assert done.returncode == 2
    assert done.stderr == "check: unknown mutant 'phantom-wirte'; did you mean 'phantom-write'?\n"


def test_a_mutant_is_a_target_like_any_other() -> None:
    done = check("-t", "mutant:write-zeroes-noop", "30", "--color", "off")
    assert done.returncode == 1
    assert "TARGET  -- mutant:write-zeroes-noop" in done.stdout
    refused = check("-t", "mutant:nothing", "1")
    assert refused.returncode == 2
    assert "unknown mutant 'nothing'" in refused.stderr
