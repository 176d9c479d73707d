"""What damaged writes share and right ones do not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from types import ModuleType

import pytest

from oracles.damage import Content, Damage, Operation, What
from oracles.finding import SECTOR, Finding
from qbdcheck.report.conditions import condition_of, fulfils, lies_in
from qbdcheck.verdict import Verdict

KIB = 1 << 10
LENGTHS = (512, 4096, 12288, 65536)


def writes(seed: int, count: int) -> list[Operation]:
    chance = random.Random(seed)
    return [
        Operation(
            number,
            chance.randrange(8 << 11) * SECTOR,
            chance.choice(LENGTHS),
            chance.choice(("write", "write (FUA)")),
            number,
        )
        for number in range(1, count + 1)
    ]


def failure(is_damaged: Callable[[Operation], bool], seed: int, count: int = 300) -> list[Finding]:
    """Return the findings of a case whose writes with a property are lost."""
    every = writes(seed, count)
    right = tuple(one for one in every if not is_damaged(one))
    lost = [
        Finding(
            Damage.STALE,
            one.offset,
            one.length,
            expected=Content(What.STAMP, one.number, one.number),
            last_writes=(one,),
        )
        for one in every
        if is_damaged(one)
    ]
    first, *rest = lost
    return [Finding(**{**vars(first), "right_writes": right}), *rest]


def told(is_damaged: Callable[[Operation], bool], **more: int) -> str:
    found = condition_of([failure(is_damaged, seed, **more) for seed in (1, 2, 3, 4)])
    return "" if found is None else str(found)


def test_the_part_of_the_volume_is_told_in_which_damaged_writes_begin() -> None:
    text = told(lambda one: 1 << 20 <= one.offset < 2 << 20)
    assert "damaged writes begin from 1 MiB on and before 2 MiB, none of" in text


@pytest.mark.parametrize(
    ("is_damaged", "shared"),
    [
        (lambda one: one.length >= 12288, "have a length of at least 8 KiB"),
        (lambda one: one.length == 512, "have a length of at most 2 KiB"),
        (lambda one: one.length in (4096, 12288), "have a length of 4 KiB to 32 KiB"),
        (lambda one: one.text.endswith("(FUA)"), "have FUA"),
        (lambda one: not one.text.endswith("(FUA)"), "have no FUA"),
        (
            lambda one: one.offset // 65536 != (one.offset + one.length - 1) // 65536,
            "cross a multiple of 64 KiB",
        ),
        (lambda one: one.offset >= 4 << 20, "begin at 4 MiB or behind it"),
        (lambda one: one.offset < 4 << 20, "begin before 4 MiB"),
        (
            lambda one: (one.offset + one.length) % 8192 == 0 and one.offset % 8192,
            "end at a multiple of 8 KiB and do not begin at one",
        ),
    ],
)
def test_usual_triggers_are_told(is_damaged: Callable[[Operation], bool], shared: str) -> None:
    text = told(is_damaged)
    assert f" damaged writes {shared}, none of " in text, text


def test_writes_and_zeroes_together_have_a_condition_too() -> None:
    def mixed(seed: int) -> list[Finding]:
        found = failure(lambda one: 1 << 20 <= one.offset < 2 << 20, seed)
        return [replace(one, last_writes=(zeroes(one.last_writes[0]),),
                        right_writes=tuple(map(zeroes, one.right_writes)))
                for one in found]  # fmt: skip

    def zeroes(write: Operation) -> Operation:
        return replace(write, text="write zeroes") if write.number % 3 == 0 else write

    found = condition_of([mixed(seed) for seed in (1, 2, 3)])
    assert " damaged writes and write zeroes requests begin from 1 MiB on" in str(found)
    alone = [[replace(one, last_writes=(replace(one.last_writes[0], text="write zeroes"),))
              for one in mixed(seed)] for seed in (1, 2, 3)]  # fmt: skip
    assert " damaged write zeroes requests begin from 1 MiB on" in str(condition_of(alone))


def test_damage_by_chance_has_no_condition() -> None:
    for seed in range(20):
        chance = random.Random(seed)
        lost = {number for number in range(300) if chance.randrange(20) == 0}
        assert told(lambda one, lost=lost: one.number in lost) == ""  # type: ignore[misc]


def test_a_property_that_only_makes_damage_likelier_is_not_told() -> None:
    assert told(lambda one: one.offset < 4 << 20 and one.number % 4 == 0) == ""


def test_few_writes_teach_nothing() -> None:
    assert told(lambda one: one.number == 1, count=40) == ""
    found = failure(lambda one: one.length == 512, 1)
    bare = [Finding(**{**vars(one), "right_writes": ()}) for one in found]
    assert condition_of([bare]) is None


def test_what_one_case_alone_shows_is_not_told_of_the_others() -> None:
    """The cases have their damage at different places, each in a window of its own."""
    windows = [failure(lambda one, at=at: at << 20 <= one.offset < (at + 1) << 20, at, 200)  # type: ignore[misc]
               for at in (1, 3, 6)]  # fmt: skip
    assert condition_of(windows) is None


def test_the_condition_says_how_many_writes_it_is_of() -> None:
    failures = [failure(lambda one: one.length == 512, seed) for seed in (1, 2, 3)]
    found = condition_of(failures)
    assert found is not None
    damaged = sum(len(one) for one in failures)
    assert str(found).startswith(f"all {found.damaged} damaged writes ")
    assert found.damaged <= damaged
    assert found.right > 500
    assert all(fulfils(one, found) for one in failures)
    assert not fulfils(failure(lambda one: one.length == 4096, 9), found)


def test_failures_are_explained_where_damaged_writes_are_missing_or_went(runs: ModuleType) -> None:
    failures = [failure(lambda one: 1 << 20 <= one.offset < 2 << 20, seed) for seed in (1, 2, 3)]
    shifted = Finding(Damage.MISDIRECTED, 0, SECTOR, moved=-(3 << 20))
    found = condition_of([[*failures[0], shifted], *failures[1:]])
    assert found is not None
    assert found.moves == {-(3 << 20)}

    def at(offset: int) -> bool:
        text = f"block status of 4096 bytes at {offset}: zero, with data"
        return lies_in(runs.ended(44, Verdict.FAIL, message=text), found)

    assert at(3 << 19)
    assert not at(5 << 20)
    assert not lies_in(runs.ended(44, Verdict.FAIL, message="it has no place"), found)
    wide = condition_of([failure(lambda one: one.length == 512, seed) for seed in (1, 2, 3)])
    assert wide is not None
    assert not lies_in(runs.ended(44, Verdict.FAIL, message="status at 4096"), wide)
