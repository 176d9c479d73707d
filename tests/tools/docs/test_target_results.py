"""The table of what the targets ran: selections get names, parts are joined, other rows stay."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tools.docs import target_results
from tools.docs.target_results import main, old_rows, renewed, rows_of, selection_of

MEMBERS = {
    "": frozenset((1, 2, 3, 5, 8, 9)),
    "quick": frozenset((1, 3)),
    "guest-quick": frozenset((9,)),
    "reading": frozenset((2,)),
}


def result(target: str, verdicts: dict[int, str], *reasons: str) -> dict[str, Any]:
    cases = [
        {"number": number, "verdict": verdict, "elapsed_s": 1.5,
         "groups": [group for group in MEMBERS if number in MEMBERS[group]],
         "reasons": list(reasons) if verdict == "not_run" else []}
        for number, verdict in verdicts.items()
    ]  # fmt: skip
    run = {
        "target": target,
        "started_s": 0.0,
        "environment": {"qemu": "7.2.22"},
        "facts": {"backend": "1.0"},
    }
    return {"schema": 1, "run": run, "cases": cases}


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ((1, 3), "quick"),
        ((1,), "001"),
        ((1, 2, 3, 5), "001-005"),
        ((1, 2, 5, 9), "001-002 005 009"),
        ((1, 2, 3, 5, 8, 9), "001-009"),
    ],
)
def test_a_selection_is_a_group_or_ranges(numbers: tuple[int, ...], expected: str) -> None:
    cases = result("mine", dict.fromkeys(numbers, "pass"))["cases"]
    assert selection_of(cases, MEMBERS) == expected


def test_pieces_of_one_target_are_one_row_and_a_group_is_another() -> None:
    why = "known deviation: docs/findings.md#it-hangs"
    rows = rows_of(
        [
            result("mine", {1: "pass", 2: "not_run"}, why),
            result("mine", {3: "fail", 5: "not_run"}, "target lacks nbd"),
            result("mine", {1: "pass", 3: "pass"}),
        ],
        MEMBERS,
    )
    facts = "7.2.22 | 1.0 | 1970-01-01 |"
    deviation = "[002](findings.md#it-hangs)"
    assert list(rows.values()) == [
        f"| `mine` | 001-005 | 4 | 1 | 1 | {deviation} | 003 | 6 | {facts}",
        f"| `mine` | quick | 2 | 2 | 0 | none | none | 3 | {facts}",
    ]


def test_rows_that_are_not_renewed_stay() -> None:
    first = renewed("", rows_of([result("b", {1: "pass"}), result("a", {2: "pass"})], MEMBERS))
    second = renewed(first, rows_of([result("b", {1: "fail"})], MEMBERS))
    assert [key.split("`")[1] for key in old_rows(second)] == ["a", "b"]
    assert "| `b` | 001 | 1 | 0 | 0 | none | 001 |" in second
    assert renewed(second, {}) == second


def test_a_file_that_is_no_result_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target_results, "PAGE", tmp_path / "page.md")
    file = tmp_path / "x.json"
    file.write_text(json.dumps({"schema": 1}))
    assert main([str(file)]) == 2
    assert capsys.readouterr().err.startswith(f"{file}: no result of ./check --json")
    assert not (tmp_path / "page.md").exists()


def test_the_files_of_a_directory_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target_results, "PAGE", tmp_path / "page.md")
    (tmp_path / "a.json").write_text(json.dumps(result("a", {1: "pass"})))
    (tmp_path / "events.jsonl").write_text("{}")
    assert main([str(tmp_path)]) == 0
    assert list(old_rows((tmp_path / "page.md").read_text())) == ["| `a` | 001 |"]


def test_the_page_is_what_the_tool_writes() -> None:
    page = target_results.PAGE.read_text(encoding="utf-8")
    assert renewed(page, {}) == page
