"""What all mutants share."""

from __future__ import annotations

import re

import pytest

from blockio.layers import Command, Reply, Request
from mutants.catalogue import catalogue, is_control
from mutants.mutant import Mutant, blocks, whole_blocks
from mutants.stale import PhantomWrite
from qbdcheck.mutation.expectation import expected_damage


def test_each_mutant_says_what_it_is_and_where_it_comes_from() -> None:
    known = catalogue()
    assert len(known) >= 50
    assert sum(map(is_control, known.values())) >= 7
    for mutant in known.values():
        assert mutant.breaks
        assert mutant.source or is_control(mutant)
        assert bool(mutant.shows or mutant.says) is not is_control(mutant)
        assert expected_damage(mutant) or mutant.says or is_control(mutant)
        re.compile(mutant.says)


def fates(mutant: Mutant, count: int) -> list[bool]:
    """Which of so many writes came through."""
    passed: list[bool] = []
    for _ in range(count):
        seen: list[Request] = []
        below = lambda request: (seen.append(request), Reply())[1]  # noqa: B023, E731
        mutant.handle(Request(Command.WRITE, 0, 0, 1, 1, b"x"), below)
        passed.append(bool(seen))
    return passed


def test_the_same_seed_strikes_at_the_same_occasions() -> None:
    one = fates(PhantomWrite(rate="3", seed="7"), 60)
    assert one == fates(PhantomWrite(rate="3", seed="7"), 60)
    assert one != fates(PhantomWrite(rate="3", seed="8"), 60)
    assert 5 < one.count(False) < 40


def test_after_lets_occasions_pass_first() -> None:
    assert fates(PhantomWrite(rate="1", after="4"), 6) == [True] * 4 + [False] * 2


def test_knobs_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="rate=0: must be a whole number"):
        PhantomWrite(rate="0")


def test_blocks_of_a_range() -> None:
    assert list(blocks(4095, 2)) == [0, 1]
    assert list(whole_blocks(4095, 8194)) == [1, 2]
    assert not whole_blocks(1, 8000) or list(whole_blocks(1, 8000)) == []
