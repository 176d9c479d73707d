"""A whole run on a backend with a bug: the experiment is made after it, on fresh volumes."""

import json
import subprocess
import sys
from pathlib import Path

from qbdcheck.files import ROOT


def check(*arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "qbdcheck", *arguments]
    return subprocess.run(
        argv, cwd=ROOT, capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )


def test_a_run_ends_with_the_conditions_of_its_failure(tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    flags = ("-t", "mutant:trim-head-not-capped", "--seed", "737317839", "400")
    done = check(*flags, "--experiments", "--json", str(report), "--html", str(tmp_path / "p.html"))
    assert done.returncode == 1, done.stderr
    written = json.loads(report.read_text(encoding="utf-8"))
    assert written["counts"]["fail"] == 1
    [made] = written["experiments"]
    assert made["outcome"] == "reproduced"
    assert made["steps"] == ["discard 512 bytes at offset 35,170"]
    assert made["failed"] == made["plays"]
    assert "step 1: a discard (passes: a write instead, write zeroes instead)" in made["needed"]
    assert "400: Tried again on fresh volumes: this request alone fails" in done.stdout
    assert "Under which conditions it fails" in (tmp_path / "p.html").read_text(encoding="utf-8")


def test_there_is_no_experiment_without_a_page_or_a_failure(tmp_path: Path) -> None:
    report = tmp_path / "run.json"
    done = check("-t", "reference", "400", "--experiments", "--json", str(report))
    assert done.returncode == 0, done.stdout
    assert json.loads(report.read_text(encoding="utf-8"))["experiments"] == []
