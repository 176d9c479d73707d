"""docs/coverage.md, the table of commands and conditions."""

from __future__ import annotations

from tools.docs import coverage_page


def test_the_page_is_up_to_date() -> None:
    assert coverage_page.PAGE.read_text(encoding="utf-8") == coverage_page.current(), (
        "docs/coverage.md is out of date: run tools/docs/coverage_page.py"
    )


def test_a_case_stands_where_it_uses_a_command_under_a_condition() -> None:
    sources = {"001": "io.write(0, 512, CommandFlag.FUA)", "1000": "io.discard(0, 512)"}
    cells = coverage_page.cells(sources)
    assert cells["write", "FUA"] == ["001"]
    assert cells["discard", "FUA"] == []
    assert cells["write", "after SIGKILL"] == []


def test_empty_cells_are_listed() -> None:
    text = coverage_page.page({"001": "io.write(0, 512, CommandFlag.FUA)"})
    assert "| FUA | 1 | 001 |" in text
    assert "- discard: FUA" in text
    assert "- write: FUA" not in text


def test_a_cell_names_the_newest_cases_and_counts_the_rest() -> None:
    sources = {f"{number:03}": "io.write(FUA)" for number in range(1, 30)}
    sources["1400"] = "io.write(FUA)"
    row = next(line for line in coverage_page.page(sources).splitlines() if "| FUA | 30 |" in line)
    assert "| 1400 001 " in row
    assert row.endswith("... |")
