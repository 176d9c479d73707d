"""What the events of a run say about a mutant."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from qbdcheck.mutation.mutant_run import ALIVE, KILLED, NOT_TESTABLE, Cell, Fate, _Watch
from qbdcheck.programs.process import Process

GUARDING = "001_guards"
BROKEN = {"case_id": GUARDING, "verdict": "broken", "message": "no reply", "findings": []}
STARVED = {**BROKEN, "starved": {"slowdown": 5.0}}
POSTPONED = {"event": "case_postponed", "case_id": GUARDING}


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([BROKEN], NOT_TESTABLE),
        ([BROKEN, {"case_id": "002_other", "verdict": "pass"}], NOT_TESTABLE),
        ([BROKEN, {**BROKEN, "case_id": "002_other", "verdict": "fail"}], KILLED),
        ([STARVED], NOT_TESTABLE),
        ([POSTPONED, {**BROKEN, "verdict": "fail", "starved": None}], KILLED),
        ([POSTPONED, {"case_id": GUARDING, "verdict": "pass"}], ALIVE),
    ],
)
def test_a_broken_case_is_neither_a_kill_nor_a_miss(
    tmp_path: Path, events: list[dict[str, object]], state: str
) -> None:
    cell = Cell()
    watch = _Watch(tmp_path, frozenset({GUARDING}), cell)
    watch.events.write_text("".join(json.dumps(event) + "\n" for event in events))
    watch.until_failure(Process(["true"], tmp_path, "run"))
    assert cell.state == state


@pytest.mark.parametrize(
    ("state", "broken", "control", "is_right"),
    [
        (KILLED, [GUARDING], False, True),
        (NOT_TESTABLE, [GUARDING], False, False),
        (NOT_TESTABLE, [], False, True),
        (ALIVE, [GUARDING], True, False),
        (ALIVE, [], True, True),
    ],
)
def test_a_broken_case_without_a_kill_is_wrong(
    state: str, broken: list[str], control: bool, is_right: bool
) -> None:
    fate = Fate(id="x", state=state, broken=broken, control=control)
    assert fate.is_right == is_right
