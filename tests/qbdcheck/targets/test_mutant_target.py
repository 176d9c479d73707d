"""`mutant:ID` as a target."""

from __future__ import annotations

from pathlib import Path

import pytest

from mutants.catalogue import catalogue
from qbdcheck.errors import UsageError
from qbdcheck.files import ROOT
from qbdcheck.targets.description import Description
from qbdcheck.targets.mutant_target import knobs_for, profile

TARGETS = ROOT / "targets"


def start_of(made: Description) -> str:
    assert made.start is not None
    return made.start


def test_knobs_are_options_of_the_layer() -> None:
    made = profile("mutant:phantom-write:rate=3:scope=write", TARGETS)
    assert made.name == "mutant:phantom-write:rate=3:scope=write"
    assert start_of(made).endswith("--layer mutants.stale:PhantomWrite:rate=3:scope=write")


def test_a_separate_layer_counts_requests(tmp_path: Path) -> None:
    made = profile(f"mutant:phantom-write:rate=3:requests={tmp_path}", TARGETS)
    assert made.name == "mutant:phantom-write:rate=3"
    counter = f"--layer mutants.requests:RequestCount:directory={tmp_path}"
    assert start_of(made).endswith(f"{counter} --layer mutants.stale:PhantomWrite:rate=3")


def test_a_mutant_in_another_target() -> None:
    made = profile("mutant:phantom-write@reference-file:rate=3", TARGETS)
    assert made.name == "mutant:phantom-write@reference-file:rate=3"
    assert "serve --pool" in start_of(made)
    assert start_of(made).endswith(" --layer mutants.stale:PhantomWrite:rate=3")


def test_a_mutant_in_a_target_given_by_its_file(tmp_path: Path) -> None:
    own = tmp_path / "own.yaml"
    own.write_text(
        (TARGETS / "reference-file.yaml").read_text().replace("{options}", "{options} --read-only")
    )
    made = profile(f"mutant:phantom-write@{own}", TARGETS)
    assert start_of(made).endswith("--read-only --layer mutants.stale:PhantomWrite")


def test_most_mutants_work_in_a_file_store() -> None:
    for mutant in catalogue().values():
        if mutant.memory_only:
            with pytest.raises(UsageError, match="this bug is in the memory store"):
                profile(f"mutant:{mutant.id}@reference-file", TARGETS)
        else:
            profile(f"mutant:{mutant.id}@reference-file", TARGETS)
    in_memory = [one for one in catalogue().values() if one.memory_only]
    assert 0 < len(in_memory) < len(catalogue()) / 4


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("phantom-wirte", "unknown mutant 'phantom-wirte'; did you mean 'phantom-write'?"),
        ("qwerty", "unknown mutant 'qwerty'; ./check --mutants -l lists all "),
        ("phantom-write:nonsense=1", "phantom-write: nonsense=1: unknown knob; knobs are rate"),
        ("phantom-write:rate", "phantom-write: rate: write a knob as KEY=VALUE"),
        ("phantom-write:", "phantom-write: an empty knob: write a knob as KEY=VALUE"),
        ("phantom-write:requests=/no/such", "phantom-write: requests=/no/such: there is no such"),
        ("size-rounded-up:rate=2", "size-rounded-up: rate=2: this bug is a fixed fact"),
        ("phantom-wirte@reference-file", "unknown mutant 'phantom-wirte'; did you mean"),
        ("phantom-write@", "mutant:phantom-write@: write a target after @"),
        ("phantom-write@refrence", "mutant:phantom-write@refrence: unknown target 'refrence'; did"),
        ("phantom-write@qemu-nbd", "@qemu-nbd: qemu-nbd does not run the reference backend"),
        ("phantom-write@proxy", "@proxy: proxy does not run the reference backend"),
        ("phantom-write@no/such.yaml", "target file no/such.yaml does not exist"),
        ("grow-exposes-old-data@reference-file", "this bug is in the memory store, which"),
        ("phantom-write@reference-file:rat=3", "phantom-write: rat=3: unknown knob"),
    ],
)
def test_a_wrong_target_is_refused_with_one_line(target: str, message: str) -> None:
    with pytest.raises(UsageError) as refused:
        profile(f"mutant:{target}", TARGETS)
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


def test_knobs_for_all_are_left_out_where_a_mutant_has_none() -> None:
    known = catalogue()
    pairs = ["rate=1000", "scope=write"]
    assert knobs_for(known["phantom-write"], pairs) == pairs
    assert knobs_for(known["torn-write"], pairs) == ["rate=1000"]
    assert knobs_for(known["size-rounded-up"], pairs) == []
    assert knobs_for(known["control-slow"], pairs) == []


def test_a_scope_without_a_command_of_the_bug_is_left_out() -> None:
    pairs = ["rate=10", "scope=write"]
    assert knobs_for(catalogue()["flush-noop"], pairs) == ["rate=10"]


def test_a_knob_that_is_wrong_for_every_mutant_is_refused() -> None:
    with pytest.raises(UsageError, match="rate=often: must be a whole number of at least 1"):
        knobs_for(catalogue()["size-rounded-up"], ["rate=often"])
    with pytest.raises(UsageError, match="nonsense=1: unknown knob"):
        knobs_for(catalogue()["control-plain"], ["nonsense=1"])


def test_oddities_are_options_before_those_of_a_case_and_layers() -> None:
    made = profile("mutant:control-legal:has=min-4096+discard-noop", TARGETS)
    assert made.name == "mutant:control-legal:has=min-4096+discard-noop"
    assert "--min-block 4096 {options}" in " ".join(start_of(made).split())
    assert start_of(made).endswith(
        "--layer mutants.controls:Legal --layer mutants.controls:DiscardNoop"
    )


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("control-legal:has=no-flash", "control-legal: unknown oddity 'no-flash'; known:"),
        ("control-legal:has=no-fua+fua-flushes", "no-fua and fua-flushes exclude each other"),
        ("control-slow:has=no-flush", "control-slow: only control-legal has the key has"),
    ],
)
def test_wrong_oddities_are_refused(target: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        profile(f"mutant:{target}", TARGETS)
    assert message in str(caught.value)
