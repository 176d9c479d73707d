"""The HTML page of a run: one self-contained file, failures first."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.report.events import Event, RunEnded
from qbdcheck.report.html import Html
from qbdcheck.verdict import Verdict

VOID = {"meta", "input", "img", "br", "link"}


class Elements(HTMLParser):
    """Records texts and elements; fails if an element is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data


def written(path: Path, events: list[Event]) -> Elements:
    report = Html(path)
    for event in events:
        report.handle(event)
    report.close()
    report.close()
    elements = Elements()
    elements.feed(path.read_text(encoding="utf-8"))
    assert elements.open == []
    return elements


def test_the_page_has_the_verdict_the_facts_and_every_case(
    tmp_path: Path, runs: ModuleType
) -> None:
    page = written(tmp_path / "run.html", runs.mixed_run())
    assert "2 of 4 cases failed" in page.text
    for fact in ("reference", "20261123-021500-abcd", "7.2.22", "2 lanes"):
        assert fact in page.text
    rows = [attributes["class"] for tag, attributes in page.seen if tag == "tr" and attributes]
    assert rows == ["is-pass", "is-not_run", "is-fail", "is-broken", "is-pass"]
    assert "target lacks resize; program fio is missing # 1" in page.text
    assert "in part not run: multi_conn part" in page.text


def test_a_failure_has_its_cause_details_and_rerun_command(
    tmp_path: Path, runs: ModuleType
) -> None:
    page = written(tmp_path / "run.html", runs.mixed_run())
    articles = [attributes["class"] for tag, attributes in page.seen if tag == "article"]
    assert articles == ["fail", "broken"]
    assert "output line 2: expected '0 0x10000 data', got '0 0x20000 data'" in page.text
    assert "odd <bytes> & ]]>" in page.text
    assert "./check --seed 7 3" in page.text
    assert "the fault never fired" in page.text


def test_the_page_fetches_nothing_and_has_no_scripts(tmp_path: Path, runs: ModuleType) -> None:
    page = written(tmp_path / "run.html", runs.mixed_run())
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.seen}
    for _, attributes in page.seen:
        for key in ("src", "href"):
            assert not re.match(r"\w+:(?!image/svg)", attributes.get(key) or "")


def test_timelines_and_pictures_are_in_the_page(tmp_path: Path, runs: ModuleType) -> None:
    timeline = tmp_path / "guest.timeline.txt"
    timeline.write_text("    0.100 qmp      <STOP>\n")
    (tmp_path / "repro").mkdir()
    (tmp_path / "repro/timeline.svg").write_text("<svg xmlns='http://www.w3.org/2000/svg'/>")
    gone = str(tmp_path / "gone.timeline.txt")
    artefacts = (str(timeline), str(tmp_path / "repro"), gone)
    case = runs.ended(3, Verdict.FAIL, message="m", artefacts=artefacts)
    page = written(tmp_path / "run.html", [runs.STARTED, case])
    assert "    0.100 qmp      <STOP>" in page.text
    [picture] = [attributes["src"] for tag, attributes in page.seen if tag == "img"]
    assert picture is not None
    assert picture.startswith("data:image/svg+xml;base64,")
    assert gone in page.text


def test_tests_in_a_guest_are_listed_one_by_one(tmp_path: Path, runs: ModuleType) -> None:
    page = written(tmp_path / "run.html", runs.run_with_tests())
    assert "tests in the guest: 1 pass, 1 conf: ext4 dio02 (conf)" in page.text
    assert re.search(r"conf\s*ext4 dio02\s*0.5\s*no O_DIRECT in", page.text)


@pytest.mark.parametrize(
    ("counts", "interrupted", "message"),
    [
        ({"pass": 1}, False, "All 1 cases passed"),
        ({"pass": 1}, True, "Interrupted"),
        ({}, False, "No case was run"),
    ],
)
def test_the_title_shows_the_outcome(
    counts: dict[str, int], interrupted: bool, message: str, tmp_path: Path, runs: ModuleType
) -> None:
    cases = [runs.ended(1, Verdict.PASS)] if counts else []
    end = RunEnded(1.0, counts, exit_code=0, interrupted=interrupted)
    assert message in written(tmp_path / "run.html", [runs.STARTED, *cases, end]).text


def test_a_path_that_cannot_be_written_is_reported_at_once(tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="cannot write report"):
        Html(tmp_path / "no/run.html")
