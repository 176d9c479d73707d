"""The cases that a command line selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.catalogue.case import CaseInfo, CaseSpec
from qbdcheck.catalogue.selection import (
    Request,
    find,
    parse_exclusion_list,
    parse_exclusions,
    select,
)
from qbdcheck.errors import UsageError

GROUPS = ("quick", "slow", "rw", "crash", "disabled")


def make(number: int, groups: str) -> CaseInfo:
    return CaseInfo(
        Path(f"s/{number:03}_case{number}.py"), number, "works", CaseSpec(tuple(groups.split()))
    )


CATALOGUE = [
    make(1, "quick rw"),
    make(2, "slow rw"),
    make(5, "quick crash"),
    make(17, "disabled rw quick"),
    make(30, "slow crash"),
]


def numbers(**request: object) -> list[int]:
    chosen = select(CATALOGUE, Request(**request), GROUPS)  # type: ignore[arg-type]
    return [case.number for case in chosen.cases]


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("1", [1]), ("001", [1]), ("1-5", [1, 2, 5]), ("001-100", [1, 2, 5, 17, 30]),
        ("5-", [5, 17, 30]), ("-5", [1, 2, 5]),
        ("0-999", [1, 2, 5, 17, 30]), ("case2", [2]), ("002_case2", [2]),
        ("suites/x/002_case2.py", [2]), ("17-17", [17]),
    ],
)  # fmt: skip
def test_an_argument_selects_these_cases(word: str, expected: list[int]) -> None:
    assert [case.number for case in find(CATALOGUE, word)] == expected


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("3", "no case 003; nearest: 001, 002, 005"),
        ("998", "no case 998; nearest: 005, 017, 030"),
        ("6-9", "no case in 6-9; nearest: 001, 002, 005"),
        ("9-6", "range 9-6 ends before it begins; write 006-009"),
        ("cas2", "no case named 'cas2'; nearest: case2"),
        ("crash", "no case named 'crash'; it is a group; write -g crash"),
        ("-", "no case named '-'"),
        ("\u0661\u0667", "no case named"),
        ("1-2-3", "no case named '1-2-3'"),
    ],
)
def test_an_argument_that_selects_no_case_is_an_error_that_names_the_nearest(
    word: str, message: str
) -> None:
    with pytest.raises(UsageError) as caught:
        find(CATALOGUE, word)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_default_selection_is_the_group_quick_without_disabled_cases() -> None:
    assert numbers() == [1, 5]


def test_groups_are_a_union_minus_the_unwanted_groups() -> None:
    assert numbers(groups=["rw", "crash"]) == [1, 2, 5, 30]
    assert numbers(groups=["rw", "crash"], exclude_groups=["slow"]) == [1, 5]


def test_named_cases_are_added_to_the_groups_and_never_excluded() -> None:
    assert numbers(groups=["crash"], arguments=["2"], exclude_groups=["slow"]) == [2, 5]
    assert numbers(arguments=["2", "30"], exclusions={"2": "known"}) == [2, 30]


def test_exclusions_apply_to_ranges() -> None:
    assert numbers(arguments=["1-30"], exclude_groups=["slow"]) == [1, 5]
    chosen = select(CATALOGUE, Request(arguments=["1-5"], exclusions={"2": "known bug"}), GROUPS)
    assert [case.number for case in chosen.cases] == [1, 5]
    assert [(case.number, why) for case, why in chosen.excluded] == [(2, "known bug")]


def test_a_disabled_case_runs_only_when_it_or_its_group_is_named() -> None:
    assert 17 not in numbers(arguments=["1-"])
    assert 17 not in numbers(groups=["rw"])
    assert numbers(arguments=["17"]) == [17]
    assert numbers(groups=["disabled"]) == [17]


def test_start_from_drops_the_cases_before_it() -> None:
    assert numbers(arguments=["1-"], start_from="5") == [5, 30]


def test_an_unknown_group_is_an_error_that_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"unknown group 'quik'; did you mean quick.*crash"):
        numbers(groups=["quik"])
    with pytest.raises(UsageError, match="unknown group 'foo'"):
        numbers(exclude_groups=["foo"])


def test_an_exclusion_of_an_unknown_case_is_an_error() -> None:
    with pytest.raises(UsageError, match="no case 099"):
        numbers(exclusions={"99": "gone"})


def test_an_exclude_file_gives_reasons() -> None:
    text = "# comment\n\n017 hangs on tmpfs\n2-5   # slow disk\ncase30\n"
    assert parse_exclusions(text, "known.txt") == {
        "017": "excluded by known.txt: hangs on tmpfs",
        "2-5": "excluded by known.txt: slow disk",
        "case30": "excluded by known.txt",
    }


def test_an_exclude_list_may_give_reasons() -> None:
    with pytest.raises(UsageError, match="-e 17=: no reason after '='; write 17=WHY"):
        parse_exclusion_list(["17="])
    assert parse_exclusion_list(["017", "2=too slow", ""]) == {
        "017": "excluded by -e",
        "2": "excluded by -e: too slow",
    }
