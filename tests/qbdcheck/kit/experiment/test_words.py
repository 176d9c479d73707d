"""Trials in words: what is needed, what makes no difference, what is not clear."""

from oracles.scripts import Script, Step
from qbdcheck.kit.experiment.outcomes import Tried
from qbdcheck.kit.experiment.shapes import Explained
from qbdcheck.kit.experiment.thresholds import Range
from qbdcheck.kit.experiment.words import (
    Said,
    say_shape,
    say_trials,
    sentence_of,
    step_in_words,
)
from qbdcheck.report.events import Trial

ONE = Script(1 << 20, (Step("write", 0, 65536),))
TWO = Script(1 << 20, (Step("discard", 0, 4096), Step("write", 0, 512)))


def trial(step: int, factor: str, as_is: str, change: str, outcome: str) -> Trial:
    return Trial(step, factor, as_is, change, outcome, 2, int(outcome != "right"))


def test_trials_of_one_factor_make_one_line() -> None:
    said = Said()
    say_trials(
        [
            trial(1, "kind", "a discard", "a write instead", "right"),
            trial(1, "kind", "a discard", "write zeroes instead", "fails"),
            trial(1, "FUA", "without FUA", "with FUA", "fails"),
            trial(2, "FUA", "without FUA", "with FUA", "fails"),
            trial(1, "a flush before step 2", "no flush before step 2", "a flush before step 2",
                  "right"),
            trial(2, "a second time", "once", "twice", "sometimes"),
            trial(2, "step", "", "left out", "right"),
        ],
        said,
    )  # fmt: skip
    assert said.needed == [
        "step 1: a discard, or write zeroes; passes: a write instead",
        "no flush before step 2 (passes: a flush before step 2)",
    ]
    assert said.no_difference() == ("FUA (steps 1, 2)",)
    assert said.unclear == ["step 2: twice: failed 1 of 2 times"]


def test_what_could_not_be_judged_says_nothing() -> None:
    said = Said()
    say_trials([trial(1, "FUA", "without FUA", "with FUA", "other")], said)
    assert not said.needed + said.unclear
    assert not said.no_difference()


def test_on_an_empty_volume_zeroes_cannot_be_seen() -> None:
    said = Said()
    change = "on a volume that was never written"
    say_trials([trial(0, "contents before", "on a full volume", change, "right")], said)
    assert said.needed == [f"on a full volume ({change}: passes, or it cannot be seen)"]


def test_without_a_rule_the_edges_are_of_this_place_only() -> None:
    lengths = Range(65536, 65535, 131072, None, is_regular=True, known={})
    samples = {(0, 65536): True, (0, 65535): False}
    said = Said()
    say_shape(ONE, 1, lengths, Explained(None, samples), said, is_cut=False)
    assert said.needed == ["step 1: at this place, at least 65,536 bytes (65,535 are right)"]
    assert said.unclear == [
        "step 1: fails with 65,536 bytes at 0; right with 65,535 bytes at 0"
    ]  # fmt: skip


def test_a_rule_is_not_claimed_if_the_time_was_over() -> None:
    lengths = Range(512, None, 65536, None, is_regular=False, known={})
    samples = {(0, 65536): True, (512, 512): False}
    said = Said()
    say_shape(ONE, 1, lengths, Explained((), samples), said, is_cut=True)
    assert not said.needed


def test_the_sentence_claims_no_more_than_was_tried() -> None:
    always, sometimes = Tried("fails", 3, 3), Tried("sometimes", 3, 1)
    assert "none of them can be left out" in sentence_of(TWO, always, "x", None)
    assert "no time to find out" in sentence_of(TWO, always, "x", [])
    assert "timing or chance" in sentence_of(TWO, sometimes, "x", None)
    assert "left out" not in sentence_of(ONE, always, "x", None)


def test_steps_that_were_left_out_one_at_a_time_are_named() -> None:
    always = Tried("fails", 3, 3)
    trials = [
        Trial(1, "step", "", "left out", "right", 2, 0),
        Trial(2, "step", "", "left out", "fails", 1, 1),
        Trial(3, "step", "", "left out", "right", 2, 0),
    ]
    told = sentence_of(TWO, always, "x", trials)
    assert "of 3 that were left out one at a time, it needs steps 1, 3" in told
    assert "each of 1 can be left out alone" in sentence_of(TWO, always, "x", trials[1:2])


def test_steps_in_words() -> None:
    steps = {
        "write 4,096 bytes at offset 0, with FUA": Step("write", 0, 4096, fua=True),
        "write zeroes 512 bytes at offset 512, with NO_HOLE": Step("zero", 512, 512, no_hole=True),
        "resize to 4,096 bytes": Step("resize", size=4096),
        "wait 5 ms": Step("wait", ms=5),
        "read 1 bytes at offset 0, on connection 2": Step("read", 0, 1, connection=2),
    }
    for text, step in steps.items():
        assert step_in_words(step) == text
