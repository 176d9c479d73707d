"""docs/report.schema.json accepts reports and nothing else."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import ModuleType
from typing import Any

import jsonschema
import pytest

from oracles.finding import UNREPORTED, Finding
from qbdcheck.files import ROOT
from qbdcheck.report import schema
from qbdcheck.report.events import CaseEnded
from qbdcheck.report.json_lines import JsonLines
from qbdcheck.report.json_report import JsonReport

PUBLISHED = ROOT / "docs/report.schema.json"
RUNS = ("mixed_run", "run_with_tests", "run_with_findings")


def is_valid(document: object) -> bool:
    validator = jsonschema.Draft202012Validator(json.loads(PUBLISHED.read_text()))
    return bool(validator.is_valid(document))


def reported(tmp_path: Path, report: Callable[[Path], Any], runs: ModuleType, run: str) -> str:
    path = tmp_path / "report"
    made = report(path)
    for event in getattr(runs, run)():
        made.handle(event)
    made.close()
    return path.read_text()


def test_the_published_schema_is_up_to_date() -> None:
    assert PUBLISHED.read_text() == schema.text(), "python -m tools.docs.report_schema"
    jsonschema.Draft202012Validator.check_schema(json.loads(PUBLISHED.read_text()))


@pytest.mark.parametrize("run", RUNS)
def test_reports_are_valid_by_the_schema(tmp_path: Path, runs: ModuleType, run: str) -> None:
    assert is_valid(json.loads(reported(tmp_path, JsonReport, runs, run)))
    for line in reported(tmp_path, JsonLines, runs, run).splitlines():
        assert is_valid(json.loads(line)), line


def test_the_report_of_a_real_run_is_valid_by_the_schema(tmp_path: Path) -> None:
    report, events = tmp_path / "run.json", tmp_path / "events"
    arguments = ["-t", "mutant:write-zeroes-noop", "1", "30", "--json", str(report)]
    command = [sys.executable, "-m", "qbdcheck", *arguments, "--events", str(events)]
    subprocess.run(command, cwd=ROOT, capture_output=True, timeout=120, check=False)
    whole = json.loads(report.read_text())
    assert is_valid(whole)
    assert all(is_valid(json.loads(line)) for line in events.read_text().splitlines())
    (failed,) = [case for case in whole["cases"] if case["verdict"] == "fail"]
    (first, *_) = failed["findings"]
    assert first["damage"] == "never written"
    assert first["expected"]["what"] == "zeroes"


def damaged(runs: ModuleType, tmp_path: Path) -> dict[str, Any]:
    made: dict[str, Any] = json.loads(reported(tmp_path, JsonReport, runs, "run_with_findings"))
    return made


REPORTED = [field.name for field in fields(Finding) if field.metadata != UNREPORTED]


@pytest.mark.parametrize("field", [*REPORTED, "text"])
def test_a_finding_without_one_of_its_keys_is_refused(
    tmp_path: Path, runs: ModuleType, field: str
) -> None:
    whole = damaged(runs, tmp_path)
    del whole["cases"][0]["findings"][0][field]
    assert not is_valid(whole)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("damage", "broken"), ("offset", "0"), ("part", [1]), ("part", [1, 2, 3]),
        ("difference", {"offset": 0, "expected": "0x", "seen": ""}), ("evidence", None),
        ("expected", {"what": "stamp"}),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(
    tmp_path: Path, runs: ModuleType, key: str, value: object
) -> None:
    whole = damaged(runs, tmp_path)
    whole["cases"][0]["findings"][0][key] = value
    assert not is_valid(whole)


def test_another_version_is_refused(tmp_path: Path, runs: ModuleType) -> None:
    assert not is_valid(damaged(runs, tmp_path) | {"schema": 2})


def test_findings_can_be_read_from_a_report(tmp_path: Path, runs: ModuleType) -> None:
    found = damaged(runs, tmp_path)["cases"][0]["findings"]
    first = Finding.from_json(found[0])
    assert first == runs.FINDINGS[0]
    assert Finding.from_json(found[1]).damage is runs.FINDINGS[1].damage


def test_paths_in_findings_are_redacted(
    tmp_path: Path, runs: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/nobody-here")
    assert "found in ~/x" in reported(tmp_path, JsonLines, runs, "run_with_findings")


def test_every_field_of_a_case_is_described() -> None:
    described = schema.schema()["$defs"]["CaseEnded"]["properties"]
    assert list(described) == [field.name for field in fields(CaseEnded)]


def test_an_unsupported_type_is_refused() -> None:
    with pytest.raises(TypeError, match="reports do not support values of the type"):
        schema._of(set[str], {})
