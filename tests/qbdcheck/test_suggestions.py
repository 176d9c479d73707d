"""Suggestions are near words, or none."""

from __future__ import annotations

import pytest

from qbdcheck.suggestions import distance, suggestion, suggestions

FLAGS = ("--repeat", "--retry", "--results", "--json", "--junit", "-qcow2", "-l", "--list")


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [("", "", 0), ("ab", "ba", 1), ("retyr", "retry", 1), ("kitten", "sitting", 3), ("", "abc", 3),
     ("flsh", "flush", 1), ("abc", "abc", 0), ("ca", "abc", 3)],
)  # fmt: skip
def test_letters_and_swapped_neighbours_are_counted(one: str, other: str, expected: int) -> None:
    assert distance(one, other) == distance(other, one) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("--retyr", "--retry"),
        ("--jso", "--json"),
        ("--JSON", "--json"),
        ("-qcow3", "-qcow2"),
        ("--formt", ""),
        ("-zz", ""),
        ("-m", ""),
        ("", ""),
    ],
)
def test_a_word_that_is_like_none_has_no_suggestion(word: str, expected: str) -> None:
    assert suggestion(word, FLAGS) == expected


def test_parts_of_a_name_count_if_no_name_is_near() -> None:
    names = ("discard-old-or-zero", "discard", "zero-length")
    assert suggestion("discard-zero", names) == "discard-old-or-zero"
    assert suggestions("zero", names, 3) == ["zero-length", "discard-old-or-zero"]
