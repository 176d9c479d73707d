"""Annotations and step summary of GitHub Actions."""

from __future__ import annotations

import io
from pathlib import Path
from types import ModuleType

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.options import Reports
from qbdcheck.report.github import ANNOTATIONS, GitHub
from qbdcheck.report.reporter import reporters_for
from qbdcheck.verdict import Verdict


def written(runs: ModuleType, events: list[object], summary: Path | None) -> str:
    output = io.StringIO()
    report = GitHub(output, summary)
    for event in events:
        report.handle(event)  # type: ignore[arg-type]
    report.close()
    report.close()
    return output.getvalue()


def test_each_failure_is_an_annotation_in_one_line(runs: ModuleType) -> None:
    lines = written(runs, runs.mixed_run(), None).splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("::error title=003_what_it_proves (raw)%3A fail::output line 2:")
    assert "%0Aagain: ./check --seed 7 3" in lines[0]
    assert "broken::" in lines[1]


def test_there_are_no_more_annotations_than_github_shows(runs: ModuleType) -> None:
    failures = [runs.ended(number, Verdict.FAIL, message="100% wrong") for number in range(1, 30)]
    lines = written(runs, [runs.STARTED, *failures], None).splitlines()
    assert len(lines) == ANNOTATIONS
    assert "100%25 wrong" in lines[0]


def test_the_summary_is_appended_with_failures_and_cases_not_run(
    tmp_path: Path, runs: ModuleType
) -> None:
    path = tmp_path / "summary.md"
    path.write_text("before\n")
    bad = runs.ended(9, Verdict.FAIL, message="a | b <script> `c`")
    written(runs, [*runs.mixed_run(), bad], path)
    text = path.read_text()
    assert text.startswith("before\n## qbdcheck: Failed 3 of ")
    assert "seed `7`" in text
    assert "| 003\\_what\\_it\\_proves | raw | fail | output line 2" in text
    assert r"a \| b &lt;script> \`c\`" in text
    assert "<details><summary>Not run: 1</summary>" in text
    assert "program fio is missing" in text


def test_a_summary_that_cannot_be_written_ends_the_run_at_its_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "summary"))
    with pytest.raises(SetupError, match="cannot write \\$GITHUB_STEP_SUMMARY"):
        reporters_for(Reports(github=True), io.StringIO())
