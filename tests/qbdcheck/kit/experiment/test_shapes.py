"""Rules for lengths and places: found if they are in the language, and never claimed otherwise."""

from collections.abc import Callable

import pytest

from qbdcheck.kit.experiment.shapes import (
    Shape,
    explain,
    holds,
    in_words,
    of_beginnings,
    of_sizes,
    pool_of,
    properties,
    rules_that_fit,
    sizes_around,
)
from qbdcheck.kit.experiment.thresholds import failing_range

SIZE = 2 << 20


def explained(first: Shape, fails: Callable[[Shape], bool]) -> str | None:
    assert fails(first)
    found = failing_range(first[1], 512, SIZE - first[0], lambda one: fails((first[0], one)))
    known = {(first[0], length): failed for length, failed in found.known.items()}
    lengths = [(found.least, True, "")] if found.too_small is not None else []
    lengths += [(found.most, False, "")] if found.too_large is not None else []
    pool = pool_of(first, 1, 0, SIZE, SIZE)
    rule = explain(known, properties(lengths, SIZE), pool, fails, 40).rule
    return None if rule is None else in_words(rule)


def test_a_threshold_of_the_length_is_found() -> None:
    text = explained((4096, 262144), lambda shape: shape[1] >= 65536)
    assert text == "is at least 65,536 bytes long"


def test_an_alignment_and_a_length_are_found_together() -> None:
    text = explained((8704, 131072), lambda shape: shape[1] >= 65536 and shape[0] % 4096 > 0)
    assert text is not None
    assert "does not begin at a multiple of 4,096" in text
    assert "at least 65,536 bytes long" in text


def test_three_properties_of_a_discard_inside_a_block_are_found() -> None:
    def fails(shape: Shape) -> bool:
        begin, end = shape[0], sum(shape)
        return begin % 4096 > 0 and end % 4096 > 0 and begin // 4096 == (end - 1) // 4096

    text = explained((35170, 512), fails)
    assert text is not None
    assert "lies inside one unit of 4,096 bytes" in text


def test_all_that_fails_needs_no_property() -> None:
    assert explained((512, 4096), lambda _: True) == ""


@pytest.mark.parametrize("first", [(35170, 512), (35170, 100), (66048, 1024), (5000, 3000)])
def test_a_rule_is_never_narrower_than_what_fails(first: Shape) -> None:
    def fails(shape: Shape) -> bool:
        begin, end = shape[0], sum(shape)
        return begin % 4096 > 0 and begin // 4096 == (end - 1) // 4096

    text = explained(first, fails)
    assert text in {
        "does not begin at a multiple of 4,096 and lies inside one unit of 4,096 bytes",
        None,
    }


@pytest.mark.parametrize(
    "fails",
    [
        lambda shape: shape[0] // 512 % 3 == 1,
        lambda shape: (shape[0] // 512 + shape[1] // 512) % 5 == 4,
    ],
)
def test_what_no_rule_says_is_not_claimed(fails: Callable[[Shape], bool]) -> None:
    first = next(shape for shape in pool_of((512, 512), 512, 0, SIZE, SIZE) if fails(shape))
    text = explained(first, fails)
    assert text is None


def test_rules_hold_for_all_failures_and_for_nothing_that_is_right() -> None:
    known = {(0, 4096): True, (4096, 4096): True, (512, 4096): False, (512, 512): False}
    for rule in rules_that_fit(known, properties([], SIZE)):
        assert all(holds(rule, shape) is failed for shape, failed in known.items())


def test_where_a_request_of_one_length_must_begin_is_found() -> None:
    pool = [shape for shape in pool_of((8704, 4096), 1, 0, SIZE, SIZE) if shape[1] == 4096]
    known = {(8704, 4096): True}
    found = explain(known, of_beginnings(), pool, lambda shape: shape[0] % 4096 > 0, 20)
    assert found.rule is not None
    assert in_words(found.rule) == "does not begin at a multiple of 4,096"


@pytest.mark.parametrize(
    ("fails", "words"),
    [
        (lambda size: size > 100_000, "is larger than the size before"),
        (lambda size: size % 4096 > 0, "is no multiple of 4,096"),
    ],
)
def test_which_new_sizes_fail_is_found(fails: Callable[[int], bool], words: str) -> None:
    first = 131072 + 512
    pool = [*sizes_around(first, 512), (512, 0), (4096, 0)]
    found = explain({(first, 0): True}, of_sizes(100_000), pool, lambda shape: fails(shape[0]), 30)
    assert found.rule is not None
    assert in_words(found.rule) == words
