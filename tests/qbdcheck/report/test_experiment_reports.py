"""What an experiment found out, in the page, on the terminal and in the JSON report."""

import io
import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType

from oracles.damage import Damage
from oracles.finding import Finding
from oracles.life import Moment
from oracles.scripts import Script, Step
from qbdcheck.report.decode import tally_of_text
from qbdcheck.report.events import CaseExperiment, Trial
from qbdcheck.report.html import page
from qbdcheck.report.json_report import report_text
from qbdcheck.report.page_script import script_of, why_no_script
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
    saw="at the end: offset 0: zeroed, expected generation 1\nfirst difference at byte 0: seen 00",
)


LOST = Finding(Damage.ZEROED, 0, 512, life=(Moment("write", 1, 0, 512), Moment("read", 0, 0, 512)))


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
    assert "What it saw when it was run:" in text and MADE.saw.splitlines()[1] in text
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
    assert offered.state == "failed 3 of 3 times that it was run"
    assert offered.saw == MADE.saw
    other = Script(1 << 20, (Step("read", 0, 512, connection=2),))
    offered = script_of((), None, replace(MADE, script=other.to_yaml()))
    assert offered is not None
    assert not offered.qemu_io, "qemu-io has one connection"


def test_what_was_run_and_did_not_fail_is_no_script_and_the_page_says_why(
    runs: ModuleType,
) -> None:
    tried = replace(MADE, outcome="not reproduced", script="", steps=(), plays=0, failed=0)
    assert script_of((), LOST, tried) is None
    why = why_no_script((), LOST, tried)
    assert why == "the recorded requests were run as scripts on fresh volumes, and did not fail"
    tally = Tally()
    for event in (runs.STARTED, runs.ended(2, Verdict.FAIL, findings=(LOST,), rerun="./check 2")):
        tally.handle(event)
    assert "(not run)" in page(tally)
    tally.handle(tried)
    text = page(tally)
    assert f"No script is printed: {why}. This repeats the case: <code>./check 2</code>" in text
    assert "Script to repeat it" not in text


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
