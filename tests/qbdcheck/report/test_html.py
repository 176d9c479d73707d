"""The HTML page of a run: one self-contained file, failures first."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from types import ModuleType

import pytest

from oracles.damage import Content, Damage, Operation, What, error
from oracles.finding import Finding
from qbdcheck.errors import SetupError
from qbdcheck.files import ROOT
from qbdcheck.report.causes import causes_of
from qbdcheck.report.events import Event, RunEnded, TestEnded
from qbdcheck.report.html import Html
from qbdcheck.report.html import page as page_of
from qbdcheck.report.tally import Tally
from qbdcheck.verdict import Verdict

VOID = {"meta", "input", "img", "br", "wbr", "link"}


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

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] not in ("style", "script"):
            self.text += data


def written(path: Path, events: list[Event]) -> Elements:
    report = Html(path)
    for event in events:
        report.handle(event)
    report.close()
    report.close()
    return parsed(path)


def parsed(path: Path) -> Elements:
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
    rows = [attributes["class"] for tag, attributes in page.seen if "data-suite" in attributes]
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


def assert_stands_alone(page: Elements, text: str) -> None:
    """Check that a page names nothing that a browser would fetch, and forbids it to."""
    assert not {"link", "iframe", "object", "embed", "base"} & {tag for tag, _ in page.seen}
    for tag, attributes in page.seen:
        assert tag != "script" or not attributes
        for key in ("src", "href", "xlink:href", "srcset", "action"):
            assert re.match(r"#|data:image/svg|$", attributes.get(key) or "")
    assert not re.search(r"https?://|@import|url\((?!#)", text)
    [policy] = [one["content"] for _, one in page.seen if "http-equiv" in one]
    assert policy is not None
    assert policy.startswith("default-src 'none';")


def test_nothing_is_fetched(tmp_path: Path, runs: ModuleType) -> None:
    for events in (runs.mixed_run(), runs.run_with_findings()):
        page = written(tmp_path / "run.html", events)
        assert_stands_alone(page, (tmp_path / "run.html").read_text())


def test_a_finding_has_its_sentence_map_bytes_and_row(tmp_path: Path, runs: ModuleType) -> None:
    page = written(tmp_path / "run.html", runs.run_with_findings())
    words = " ".join(page.text.split())
    assert "Sector 8: stale (generation 4 by write #40, expected 7 by write #70). Last" in words
    assert "stale: 1 of 1 failure, 100 %" in words
    assert re.search(r"expected ?seen ?\d+ ?07", words), words[-3000:]
    assert "#70 write 4096+512" in words
    tags = [tag for tag, _ in page.seen]
    assert tags.count("svg") == 1
    marked = [one.get("class") for tag, one in page.seen if tag == "rect"]
    assert "k1" in marked
    assert "write" in marked
    rows = [one for _, one in page.seen if one.get("data-label") == "damage"]
    assert len(rows) == 2
    assert "/home/nobody-here" in words  # not the home directory here


def test_a_sentence_alone_makes_no_table(tmp_path: Path, runs: ModuleType) -> None:
    lost = runs.ended(1, Verdict.FAIL, message="m", findings=(Finding(Damage.DIED, remark="gone"),))
    page = written(tmp_path / "run.html", [runs.STARTED, lost])
    assert "died: a program ended on its own, by a signal or with an error" in page.text
    assert not [one for _, one in page.seen if one.get("data-label") == "damage"]
    assert "svg" not in {tag for tag, _ in page.seen}


def test_links_lead_to_a_failure(tmp_path: Path, runs: ModuleType) -> None:
    page = written(tmp_path / "run.html", runs.mixed_run())
    ids = {attributes["id"] for _, attributes in page.seen if "id" in attributes}
    links = {attributes["href"] for _, attributes in page.seen if "href" in attributes}
    assert links == {"#003_what_it_proves.raw", "#004_what_it_proves.raw"}
    assert {(link or "")[1:] for link in links} <= ids


EVIL = "<img src=x onerror=alert(1)> & \" ' </style></script><b>"


def test_every_text_is_escaped(tmp_path: Path, runs: ModuleType) -> None:
    finding = Finding(
        Damage.STALE, 4096, 512, expected=Content(What.TEXT, text=EVIL), seen=error(5),
        request=EVIL, remark=EVIL, evidence=(EVIL,), side=EVIL,
        last_writes=(Operation(1, 0, 512, EVIL),),
    )  # fmt: skip
    log = tmp_path / "full.log"
    log.write_text(EVIL)
    evil = runs.ended(
        1, Verdict.FAIL, case_id=EVIL, sentence=EVIL, groups=(EVIL,), image_format=EVIL,
        message=EVIL, details=f"--- a\n+++ b\n@@ -1 @@\n-{EVIL}\n+y\n", rerun=EVIL, path=EVIL,
        artefacts=(str(log), EVIL), findings=(finding,), observed=(EVIL,), partly_not_run=(EVIL,),
        tests=(TestEnded(EVIL, "fail", 1.0, EVIL),),
    )  # fmt: skip
    started = replace(runs.STARTED, target=EVIL, formats=(EVIL,), environment={EVIL: EVIL})
    not_run = runs.ended(2, Verdict.NOT_RUN, reasons=(EVIL,), path=f"{EVIL}/x.py")
    page = written(tmp_path / "run.html", [started, evil, not_run])
    assert "img" not in {tag for tag, _ in page.seen}
    assert all("onerror" not in attributes for _, attributes in page.seen)
    assert "<img src=x" not in (tmp_path / "run.html").read_text()
    assert page.text.count("<img src=x onerror=alert(1)>") > 15


def test_secrets_and_control_characters_are_not_in_the_page(
    tmp_path: Path, runs: ModuleType
) -> None:
    home = str(Path.home())
    case = runs.ended(1, Verdict.FAIL, message=f"password=abc at {home}/x \x1b[31m", rerun=home)
    page = written(tmp_path / "run.html", [runs.STARTED, case])
    assert "password=*** at ~/x \\x1b[31m" in page.text
    assert f"{home}/" not in page.text


def test_the_table_filters_by_suite_group_time_and_text(tmp_path: Path, runs: ModuleType) -> None:
    other = runs.ended(9, Verdict.PASS, path="suites/crash/009_x.py", last_s=2.5)
    page = written(tmp_path / "run.html", [*runs.mixed_run()[:-1], other])
    suites = [one["data-suite"] for _, one in page.seen if "data-suite" in one]
    assert suites == ["iotests"] * 5 + ["crash"]
    groups = {one["data-groups"] for _, one in page.seen if "data-groups" in one}
    assert groups == {"rw quick"}
    options = [tag for tag, _ in page.seen if tag == "option"]
    assert len(options) == 3 + 3 + 3  # suites, groups, orders
    [filters] = [one for _, one in page.seen if one.get("id") == "filters"]
    assert "hidden" in filters  # the script shows it; without a script it would do nothing
    assert re.search(r"1\.2\s+2\.5", page.text)


def test_a_real_failure_is_on_its_page(tmp_path: Path) -> None:
    path = tmp_path / "run.html"
    words = ["-t", "mutant:phantom-write", "2", "--seed", "7", "--html", str(path)]
    done = subprocess.run(
        [sys.executable, ROOT / "check", *words],
        env={**os.environ, "XDG_CACHE_HOME": str(tmp_path / "cache")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1, done.stderr
    page = parsed(path)
    assert_stands_alone(page, path.read_text())
    text = " ".join(page.text.split())
    assert "1 of 1 case failed" in text
    assert "never written: the write was acknowledged, and what was there" in text
    assert re.search(r"Sector \d+: never written: prefill still there", text)
    assert "./check -t mutant:phantom-write 2 --seed 7 --html" in text
    assert "./check -t mutant:phantom-write -raw --seed 7 2" in text
    assert "Whole volume, 8 MiB" in text
    assert re.search(r"Write #\d+ was acknowledged at [\d.]+ s, and the read", text)
    assert "Read again over a new connection: the same damage" in text
    assert re.search(r"commit [0-9a-f]{12}", text)
    assert re.search(r"Capabilities: \d+ of \d+", text)
    assert "qbdcheck script: 1" in text
    assert "in test disk.verify()" in text


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
        ({"pass": 1}, False, "1 case passed"),
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


def test_a_run_in_which_nothing_failed_but_something_is_broken_says_so(
    tmp_path: Path, runs: ModuleType
) -> None:
    failed = next(one for one in runs.mixed_run() if getattr(one, "verdict", "") is Verdict.FAIL)
    events = [one for one in runs.mixed_run() if one is not failed and one != failed]
    page = written(tmp_path / "run.html", events)
    assert "No case failed, 1 of 3 broken: nothing is known from it" in page.text


def test_a_page_that_is_made_later_has_the_causes_of_the_run(runs: ModuleType) -> None:
    kinds = (Damage.TORN, Damage.SIZE)
    cases = [
        runs.ended(number, Verdict.FAIL, message=kind.value, findings=(Finding(kind),))
        for number, kind in enumerate(kinds, 2)
    ]
    tally = Tally()
    for event in (runs.STARTED, *cases):
        tally.handle(event)
    assert "<h2>Kinds of damage</h2>" in page_of(tally)
    assert "<h2>Cause" not in page_of(tally)
    first, *_ = causes_of(cases)
    tally.handle(RunEnded(1.0, {}, 1, causes=(first,)))
    text = page_of(tally)
    assert text.index("<h2>Cause</h2>") < text.index("<h2>Kinds of damage</h2>")
    assert f"{first.title[:1].upper()}{first.title[1:]}" in text
