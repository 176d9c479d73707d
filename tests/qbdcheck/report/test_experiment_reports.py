"""What an experiment found out, in the page, on the terminal and in the JSON report."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from oracles.scripts import Script, Step
from qbdcheck.report.decode import tally_of_text
from qbdcheck.report.events import CaseExperiment, Trial
from qbdcheck.report.html import page
from qbdcheck.report.json_report import report_text
from qbdcheck.report.page_script import script_of
from qbdcheck.report.tally import Tally
from qbdcheck.report.terminal import Terminal
from qbdcheck.verdict import Verdict

SCRIPT = Script(1 << 20, (Step("write", 0, 65536, fua=True),))
MADE = CaseExperiment(
    case_id="002_what_it_proves",
    number=2,
    image_format="raw",
    outcome="reproduced",
    sentence="Tried again on fresh volumes: this request alone fails 3 of 3 times.",
    source="the requests to the damaged place",
    script=SCRIPT.to_yaml(),
    steps=("write 65,536 bytes at offset 0, with FUA",),
    plays=3,
    failed=3,
    needed=("step 1: with FUA (passes: without FUA)",),
    indifferent=("a flush (before the check at the end)",),
    unclear=("step 1: twice: failed 1 of 2 times",),
    trials=(Trial(1, "FUA", "with FUA", "without FUA", "right", 2, 0),),
    all_plays=40,
    elapsed_s=6.5,
)


def failed_run(runs: ModuleType, *experiments: CaseExperiment) -> Tally:
    tally = Tally()
    for event in (runs.STARTED, runs.ended(2, Verdict.FAIL, message="it is wrong"), *experiments):
        tally.handle(event)
    return tally


def test_the_page_has_conditions_and_trials_above_the_evidence(runs: ModuleType) -> None:
    text = page(failed_run(runs, MADE))
    for words in (MADE.sentence, *MADE.steps, *MADE.needed, *MADE.indifferent, *MADE.unclear):
        assert words in text
    assert text.index(MADE.sentence) < text.index("the case</dt>")
    assert "What was tried, one change at a time (1)" in text
    assert "failed 3 of 3 times" in text
    assert "The time of the experiment was over" not in text
    cut = page(failed_run(runs, replace(MADE, is_complete=False)))
    assert "The time of the experiment was over" in cut


def test_a_page_without_an_experiment_says_nothing_of_conditions(runs: ModuleType) -> None:
    assert "Under which conditions" not in page(failed_run(runs))


def test_the_script_of_the_page_is_the_one_that_was_tried() -> None:
    offered = script_of((), None, MADE)
    assert offered is not None
    assert offered.replay == MADE.script
    assert "write -q -f" in offered.qemu_io
    assert "failed 3 of 3 times" in offered.about
    other = Script(1 << 20, (Step("read", 0, 512, connection=2),))
    offered = script_of((), None, replace(MADE, script=other.to_yaml()))
    assert offered is not None
    assert not offered.qemu_io, "qemu-io has one connection"


def test_the_terminal_has_two_lines_at_most(runs: ModuleType) -> None:
    stream = io.StringIO()
    terminal = Terminal(stream, "off")
    terminal.handle(runs.STARTED)
    before = stream.getvalue()
    terminal.handle(MADE)
    lines = stream.getvalue().removeprefix(before).splitlines()
    assert lines == [f"002: {MADE.sentence}", f"     needed: {MADE.needed[0]}"]


def test_a_report_keeps_the_experiment_and_an_old_one_has_none(runs: ModuleType) -> None:
    text = report_text(failed_run(runs, MADE))
    assert tally_of_text(text).experiments == [MADE]
    old = json.loads(text)
    del old["experiments"]
    assert tally_of_text(json.dumps(old)).experiments == []


def test_events_keep_it_too(runs: ModuleType, tmp_path: Path) -> None:
    from qbdcheck.report.json_lines import JsonLines

    report = JsonLines(tmp_path / "events.jsonl")
    for event in (runs.STARTED, MADE):
        report.handle(event)
    report.close()
    text = (tmp_path / "events.jsonl").read_text(encoding="utf-8")
    assert tally_of_text(text).experiments == [MADE]
