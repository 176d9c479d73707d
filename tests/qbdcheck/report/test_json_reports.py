"""JSON and JSON-lines reports, read by Python's json."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.files import ROOT
from qbdcheck.report.json_lines import JsonLines
from qbdcheck.report.json_report import JsonReport


def test_json_report_has_the_whole_run_with_its_environment(
    tmp_path: Path, runs: ModuleType
) -> None:
    report = JsonReport(tmp_path / "run.json")
    for event in runs.mixed_run():
        report.handle(event)
    report.close()
    whole = json.loads((tmp_path / "run.json").read_text())
    assert whole["run"]["environment"]["qemu"] == "7.2.22"
    assert whole["run"]["seed"] == 7
    assert whole["counts"] == {
        "fail": 1, "broken": 1, "known": 0, "pass": 2, "not_run": 1,
    }  # fmt: skip
    assert [case["verdict"] for case in whole["cases"]] == [
        "pass", "not_run", "fail", "broken", "pass",
    ]  # fmt: skip
    assert whole["cases"][1]["reasons"] == ["target lacks resize", "program fio is missing # 1"]
    assert whole["end"] == {
        "elapsed_s": 6.5, "counts": {"pass": 2}, "exit_code": 1, "interrupted": False,
        "stopped": "",
        "causes": [], "looks_like": [],
    }  # fmt: skip


def test_json_report_of_a_run_without_an_end_has_end_null(tmp_path: Path, runs: ModuleType) -> None:
    report = JsonReport(tmp_path / "run.json")
    for event in runs.mixed_run()[:4]:
        report.handle(event)
    report.close()
    whole = json.loads((tmp_path / "run.json").read_text())
    assert whole["end"] is None
    assert len(whole["cases"]) == 1


def test_json_lines_has_one_object_per_event_in_order(tmp_path: Path, runs: ModuleType) -> None:
    report = JsonLines(tmp_path / "events.jsonl")
    for event in runs.mixed_run():
        report.handle(event)
    report.close()
    objects = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    assert [made["event"] for made in objects[:4]] == [
        "run_started", "case_started", "case_ended", "case_started",
    ]  # fmt: skip
    assert objects[0]["schema"] == 1
    assert objects[-1]["event"] == "run_ended"


_WRITE_AND_WAIT = """
import runpy, sys, time
from pathlib import Path
from qbdcheck.report.json_lines import JsonLines
report = JsonLines(Path(sys.argv[1]))
for event in runpy.run_path(sys.argv[2])["mixed_run"]()[:6]:
    report.handle(event)
print("written", flush=True)
time.sleep(60)
"""


def test_json_lines_are_whole_after_sigkill(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    runs_file = Path(__file__).with_name("runs.py")
    with subprocess.Popen(
        [sys.executable, "-c", _WRITE_AND_WAIT, path, runs_file],
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"written\n"
        process.send_signal(signal.SIGKILL)
    text = path.read_text()
    assert text.endswith("\n")
    assert len([json.loads(line) for line in text.splitlines()]) == 6


def test_reports_name_no_home_no_scratch_directory_and_no_secret(
    tmp_path: Path, runs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/alice")
    path = tmp_path / "events.jsonl"
    report = JsonLines(path)
    for event in runs.mixed_run(home="/home/alice"):
        report.handle(event)
    secrets = "password=hunter2 nbd://bob:hunter2@host/ {'key-secret': 'hunter2'} /home/alicex"
    report.handle(runs.ended(6, runs.Verdict.FAIL, details=secrets))
    report.close()
    text = path.read_text()
    assert "/home/alice/" not in text
    assert "~/mine.yaml" in text
    assert "/tmp/qscratch" not in text
    assert "SCRATCH/003/full.log" in text
    assert "hunter2" not in text
    assert "/home/alicex" in text, "a longer name that begins like the home directory is no home"


@pytest.mark.parametrize("report", [JsonLines, JsonReport])
def test_a_report_path_that_cannot_be_written_stops_the_run_at_its_start(
    tmp_path: Path, report: type
) -> None:
    with pytest.raises(SetupError, match=r"cannot write report .*missing/x: No such file"):
        report(tmp_path / "missing" / "x")


def test_tests_of_a_guest_are_objects_of_their_case(tmp_path: Path, runs: ModuleType) -> None:
    report = JsonReport(tmp_path / "run.json")
    for event in runs.run_with_tests():
        report.handle(event)
    report.close()
    (case,) = json.loads((tmp_path / "run.json").read_text())["cases"]
    assert case["tests"][0] == {
        "name": "ext4 dio01", "outcome": "pass", "elapsed_s": 1.25, "said": "", "starved": None,
    }  # fmt: skip
    assert case["tests"][1]["said"].startswith("no O_DIRECT")


@pytest.mark.parametrize("kind", [JsonReport, JsonLines])
def test_a_full_disk_is_one_message_that_names_the_report(
    kind: type[JsonReport | JsonLines], runs: ModuleType
) -> None:
    report = kind(Path("/dev/full"))
    with pytest.raises(SetupError, match="cannot write report /dev/full: No space left on device"):
        try:
            for event in runs.mixed_run():
                report.handle(event)
        finally:  # as the runner does
            report.close()
