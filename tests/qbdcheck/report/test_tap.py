"""TAP report, read by tap.py."""

from __future__ import annotations

import io
from types import ModuleType

from tap.line import Bail, Line, Plan, Result
from tap.parser import Parser

from qbdcheck.report.events import Event, RunEnded
from qbdcheck.report.tap import Tap
from qbdcheck.verdict import Verdict


def written(events: list[Event]) -> str:
    stream = io.StringIO()
    report = Tap(stream)
    for event in events:
        report.handle(event)
    report.close()
    return stream.getvalue()


def parsed(text: str) -> list[Line]:
    # tap.py 3.2 knows version 13, whose YAML blocks and directives are those of version 14
    return list(Parser().parse_text(text.replace("TAP version 14", "TAP version 13", 1)))


def test_another_parser_reads_plan_results_and_skip_reasons(runs: ModuleType) -> None:
    text = written(runs.mixed_run())
    assert text.startswith("TAP version 14\n")
    lines = parsed(text)
    results = [line for line in lines if isinstance(line, Result)]
    assert [result.ok for result in results] == [True, True, False, False, True]
    assert [result.number for result in results] == [1, 2, 3, 4, 5]
    assert results[1].skip
    assert "target lacks resize; program fio" in results[1].directive.text
    plans = [line for line in lines if isinstance(line, Plan)]
    assert [plan.expected_tests for plan in plans] == [5]
    assert not [line for line in lines if line.category == "unknown"]


def test_diagnostics_are_yaml_with_cause_seed_and_rerun_command(runs: ModuleType) -> None:
    results = [line for line in parsed(written(runs.mixed_run())) if isinstance(line, Result)]
    failed = results[2].yaml_block
    assert failed["severity"] == "fail"
    assert failed["message"].startswith("output line 2: expected")
    assert failed["seed"] == 7
    assert failed["again"].startswith("./check --seed 7 3")
    assert "\n...\n---\nat " in failed["details"], "markers of YAML inside the text are text"
    assert results[3].yaml_block["severity"] == "broken"
    assert results[0].yaml_block["duration_ms"] == 1250.0
    assert results[4].yaml_block["partly_not_run"] == ["multi_conn part: target lacks multi_conn"]


def test_an_interrupted_run_bails_out_and_has_no_plan(runs: ModuleType) -> None:
    events = [*runs.mixed_run()[:3], RunEnded(1.0, {}, 130, interrupted=True)]
    lines = parsed(written(events))
    assert [line.reason for line in lines if isinstance(line, Bail)] == ["interrupted"]
    assert not [line for line in lines if isinstance(line, Plan)]


def test_a_name_with_a_hash_is_not_a_directive(runs: ModuleType) -> None:
    case = runs.ended(1, Verdict.FAIL, case_id="001_a # SKIP not really", message="m")
    # tap.py 3.2 does not know escapes; the specification of version 14 has this very example
    assert "not ok 1 - 001_a \\# SKIP not really raw\n" in written([runs.STARTED, case])


def test_tests_of_a_guest_are_in_the_block_of_their_case(runs: ModuleType) -> None:
    (result,) = [one for one in parsed(written(runs.run_with_tests())) if isinstance(one, Result)]
    assert result.yaml_block["tests"] == {"ext4 dio01": "pass", "ext4 dio02": "conf"}
