"""`mutant:ID` as a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants.catalogue import catalogue
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.targets.mutant_target import knobs_for, profile

TARGETS = ROOT / "targets"


def test_knobs_go_to_the_layer() -> None:
    made = profile("mutant:phantom-write:rate=3:scope=write", TARGETS)
    assert made.name == "mutant:phantom-write:rate=3:scope=write"
    assert made.start.endswith("--layer mutants.stale:PhantomWrite:rate=3:scope=write")


def test_requests_are_counted_by_a_layer_of_their_own(tmp_path: Path) -> None:
    made = profile(f"mutant:phantom-write:rate=3:requests={tmp_path}", TARGETS)
    assert made.name == "mutant:phantom-write:rate=3"
    counter = f"--layer mutants.requests:RequestCount:directory={tmp_path}"
    assert made.start.endswith(f"{counter} --layer mutants.stale:PhantomWrite:rate=3")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("phantom-wirte", "unknown mutant 'phantom-wirte'; did you mean 'phantom-write'?"),
        ("phantom-write:nonsense=1", "phantom-write: nonsense=1: no such knob; there are rate"),
        ("phantom-write:rate", "phantom-write: rate: a knob is written KEY=VALUE"),
        ("phantom-write:", "phantom-write: an empty word: a knob is written KEY=VALUE"),
        ("phantom-write:requests=/no/such", "must be a directory that is there"),
        ("size-rounded-up:rate=2", "size-rounded-up: rate=2: this bug is a fixed fact"),
    ],
)
def test_what_is_wrong_is_told_before_anything_runs(target: str, told: str) -> None:
    with pytest.raises(UsageError) as refused:
        profile(f"mutant:{target}", TARGETS)
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_knobs_for_all_are_left_out_where_a_mutant_has_none() -> None:
    known = catalogue()
    words = ["rate=1000", "scope=write"]
    assert knobs_for(known["phantom-write"], words) == words
    assert knobs_for(known["torn-write"], words) == ["rate=1000"]
    assert knobs_for(known["size-rounded-up"], words) == []
    assert knobs_for(known["control-slow"], words) == []


def test_a_scope_that_is_no_command_of_a_bug_leaves_it_out() -> None:
    words = ["rate=10", "scope=write"]
    assert knobs_for(catalogue()["flush-noop"], words) == ["rate=10"]


def test_a_knob_that_is_wrong_for_all_is_told() -> None:
    with pytest.raises(UsageError, match="rate=often: must be a whole number from 1 on"):
        knobs_for(catalogue()["size-rounded-up"], ["rate=often"])
    with pytest.raises(UsageError, match="nonsense=1: no such knob"):
        knobs_for(catalogue()["control-plain"], ["nonsense=1"])
