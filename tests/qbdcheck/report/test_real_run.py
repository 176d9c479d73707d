"""One real run of ./check over a toy suite: the reports of all formats agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import junitparser
import pytest
from tap.line import Result
from tap.parser import Parser

from qbdcheck.files import ROOT

CASES = {
    "001_holds": "    assert seed is not None\n",
    "002_breaks": '    assert "old" == "new", "sector 8: stale (generation 4, expected 7)"\n',
    "003_cannot": '    raise NotRun("this machine has no tape drive")\n',
    "004_misspelt": "    sede\n",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[subprocess.CompletedProcess[str], Path]:
    """The finished run and the directory with its report files."""
    place = tmp_path_factory.mktemp("run")
    suites = place / "suites" / "iotests"
    suites.mkdir(parents=True)
    (suites.parent / "groups.yaml").write_text("quick: all of them\n")
    for stem, body in CASES.items():
        head = (
            f'"""This case checks that {stem[4:]}."""\nfrom qbdcheck.kit import NotRun, case\n\n\n'
        )
        text = f'{head}@case(groups="quick")\ndef test(seed):\n{body}'
        (suites / f"{stem}.py").write_text(text)
    arguments = [f"--suites-dir={suites.parent}", f"--golden-dir={place}", "--seed", "7", "--tap"]
    reports = [f"--junit={place}/junit.xml", f"--json={place}/run.json"]
    done = subprocess.run(
        [sys.executable, ROOT / "check", *arguments, *reports, f"--events={place}/events.jsonl"],
        env={**os.environ, "XDG_CACHE_HOME": str(place / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done, place


VERDICTS = {
    "001_holds": "pass",
    "002_breaks": "fail",
    "003_cannot": "not_run",
    "004_misspelt": "broken",
}


def test_the_run_fails_and_every_report_exists(
    run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    done, place = run
    assert done.returncode == 1, done.stderr
    assert done.stderr == ""
    for name in ("junit.xml", "run.json", "events.jsonl"):
        assert (place / name).stat().st_size


def test_tap_has_the_outcome_of_every_case(
    run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    text = run[0].stdout.replace("TAP version 14", "TAP version 13", 1)
    results = {
        line.description.split()[1]: line
        for line in Parser().parse_text(text)
        if isinstance(line, Result)
    }
    assert {name: result.ok for name, result in results.items()} == {
        name: verdict in ("pass", "not_run") for name, verdict in VERDICTS.items()
    }
    assert results["003_cannot"].skip
    failed = results["002_breaks"].yaml_block
    assert failed["message"] == "sector 8: stale (generation 4, expected 7)"
    assert "--seed 7" in failed["again"]
    assert results["004_misspelt"].yaml_block["severity"] == "broken"


def test_json_and_events_have_the_same_results(
    run: tuple[subprocess.CompletedProcess[str], Path],
) -> None:
    _, place = run
    whole = json.loads((place / "run.json").read_text())
    assert {case["case_id"]: case["verdict"] for case in whole["cases"]} == VERDICTS
    assert whole["end"]["exit_code"] == 1
    assert whole["run"]["seed"] == 7
    assert whole["run"]["environment"]["kernel"].startswith("Linux")
    events = [json.loads(line) for line in (place / "events.jsonl").read_text().splitlines()]
    ended = [event for event in events if event["event"] == "case_ended"]
    assert {event["case_id"]: event["verdict"] for event in ended} == VERDICTS
    assert [event["event"] for event in (events[0], events[-1])] == ["run_started", "run_ended"]


def test_junit_has_the_same_results(run: tuple[subprocess.CompletedProcess[str], Path]) -> None:
    (suite,) = junitparser.JUnitXml.fromfile(str(run[1] / "junit.xml"))
    kinds = {case.name: type(case.result[0]).__name__ for case in suite if case.result}
    assert kinds == {"002_breaks": "Failure", "003_cannot": "Skipped", "004_misspelt": "Error"}
    assert (suite.tests, suite.failures, suite.errors, suite.skipped) == (4, 1, 1, 1)
