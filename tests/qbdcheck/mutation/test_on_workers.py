"""The answers of workers become fates of the kill matrix."""

from __future__ import annotations

import json

from mutants.catalogue import catalogue
from qbdcheck.mutation.mutant_run import KILLED, NOT_READY, Fate
from qbdcheck.mutation.on_workers import fate_of
from qbdcheck.mutation.wanted import Wanted
from qbdcheck.workers.commands import Answer

WANTED = Wanted(catalogue()["misdirected-write"], "rate=3", "mib=1")


def test_the_fate_is_that_of_the_worker() -> None:
    there = Fate(id="misdirected-write", state=KILLED, case="002_sub_sector", seconds=1.5)
    files = {"fates.json": json.dumps([there.as_json()]).encode()}
    fate = fate_of(WANTED, Answer(1, "", files))
    assert (fate.state, fate.case, fate.seconds) == (KILLED, "002_sub_sector", 1.5)
    assert (fate.knobs, fate.knobs_left_out) == ("rate=3", "mib=1")
    assert fate.is_right


def test_a_mutant_without_an_answer_is_not_killed() -> None:
    for answer in (
        Answer(2, "check: it does not start\n"),
        Answer(None, "it lost 2 workers: A; B"),
        Answer(1, "damaged", {"fates.json": b"["}),
    ):
        fate = fate_of(WANTED, answer)
        assert fate.state == NOT_READY
        assert not fate.is_right
        assert fate.diagnosis == answer.output.strip().removeprefix("check: ")
