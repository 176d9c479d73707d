"""Reports that are read back are the run that was written."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from qbdcheck.report.decode import tally_of_report, tally_of_text
from qbdcheck.report.json_lines import JsonLines
from qbdcheck.report.json_report import report_text
from qbdcheck.report.saved_results import SavedResults
from qbdcheck.report.tally import Tally


def tally(events: list[object]) -> Tally:
    made = Tally()
    for event in events:
        made.handle(event)  # type: ignore[arg-type]
    made.running.clear()
    return made


@pytest.mark.parametrize("kind", ["mixed_run", "run_with_tests", "run_with_findings"])
def test_a_report_is_read_back_as_it_was_written(runs: ModuleType, kind: str) -> None:
    written = tally(getattr(runs, kind)())
    read = tally_of_text(report_text(written))
    assert json.loads(report_text(read)) == json.loads(report_text(written))
    assert read.run
    assert read.run.environment.pop("scratch") == "SCRATCH (ext4)"
    assert read.run == replace(runs.STARTED, environment={"qemu": "7.2.22", "kernel": "6.1"})
    assert read.end == written.end
    assert [case.findings for case in read.cases] == [case.findings for case in written.cases]
    assert [case.verdict for case in read.cases] == [case.verdict for case in written.cases]


def test_events_are_read_back_also_those_of_a_killed_run(runs: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "events"
    lines = JsonLines(path)
    for event in runs.mixed_run():
        lines.handle(event)
    lines.close()
    text = path.read_text()
    assert len(tally_of_text(text).cases) == 5
    assert tally_of_text(text).end is not None
    assert len(tally_of_text(text[:-40]).cases) == 5
    assert tally_of_text(text[:-40]).end is None
    wrong = text.splitlines()
    wrong[2] = wrong[2][:-5]
    with pytest.raises(ValueError, match="line 3 is not an event"):
        tally_of_text("\n".join(wrong))


def test_unknown_keys_are_ignored_and_missing_ones_have_their_defaults(runs: ModuleType) -> None:
    report = json.loads(report_text(tally(runs.mixed_run())))
    report["cases"][0]["new_key"] = 1
    del report["cases"][0]["observed"], report["retries"]
    assert tally_of_report(report).cases[0].observed == ()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema": 2}, "has schema 2; this version reads 1"),
        ({"cases": [{"case_id": 1}]}, "damaged report: 1 is not a str"),
        ({"cases": [{"case_id": "003_x", "number": 3}]}, "damaged report: 003_x has no"),
        ({"cases": [7]}, "damaged report"),
        ({"cases": [{"verdict": "green"}]}, "damaged report"),
    ],
)
def test_a_wrong_report_is_refused(
    runs: ModuleType, change: dict[str, object], message: str
) -> None:
    report = json.loads(report_text(tally(runs.mixed_run())))
    with pytest.raises(ValueError, match=message):
        tally_of_report({**report, **change})
    for text in ("{", "[]", "", '{"x": 1}'):
        with pytest.raises(ValueError, match="is not"):
            tally_of_text(text)


def test_saved_results_are_best_effort_unless_the_user_named_the_directory(
    runs: ModuleType, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    saved = SavedResults(tmp_path / "file" / "run", must=False)
    for event in runs.mixed_run():
        saved.handle(event)
    saved.close()
    with pytest.raises(Exception, match=r"--results .*/file: Not a directory; name a directory"):
        SavedResults(tmp_path / "file" / "run", must=True)
    saved = SavedResults(tmp_path / "run", must=True)
    for event in runs.mixed_run():
        saved.handle(event)
    assert not (tmp_path / "run" / "report.json").exists()
    saved.close()
    saved.close()
    assert len(tally_of_text((tmp_path / "run" / "report.json").read_text()).cases) == 5
    assert len(tally_of_text((tmp_path / "run" / "events.jsonl").read_text()).cases) == 5
