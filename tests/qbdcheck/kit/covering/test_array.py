"""Covering arrays: all that is possible is covered, nothing else occurs, the best comes first."""

from __future__ import annotations

import random
from itertools import combinations, product

import pytest

from qbdcheck.kit.covering.array import CoveringArray, Row, pairs_of

DIMENSIONS = {
    "command": ("read", "write", "zero", "discard"),
    "fua": ("", "FUA"),
    "size": ("1", "512", "4K"),
    "then": ("nothing", "flush", "cut"),
    "never": ("no", "yes"),
}


def clashes(one: str, value: str, other: str, beside: str) -> bool:
    """Refuse FUA reads; make ``never: yes`` impossible with all, but by two steps."""
    known = {
        ("command", "read", "fua", "FUA"),
        ("command", "discard", "size", "1"),
        ("then", "cut", "fua", ""),
        ("then", "cut", "command", "read"),
        *(("never", "yes", "size", size) for size in DIMENSIONS["size"]),
    }
    return (one, value, other, beside) in known


def is_possible(row: Row) -> bool:
    items = list(row.items())
    return not any(clashes(*one, *other) for one in items for other in items if one != other)


def all_rows() -> list[Row]:
    rows = [dict(zip(DIMENSIONS, values, strict=True)) for values in product(*DIMENSIONS.values())]
    return [row for row in rows if is_possible(row)]


def combinations_in(rows: list[Row], strength: int) -> set[tuple[tuple[str, str], ...]]:
    return {one for row in rows for one in combinations(sorted(row.items()), strength)}


def made(strength: int, seed: int = 1) -> tuple[CoveringArray, list[Row]]:
    sets = pairs_of(DIMENSIONS) if strength == 2 else list(combinations(DIMENSIONS, 3))
    array = CoveringArray(DIMENSIONS, sets, random.Random(seed), clashes)
    return array, list(array.rows())


@pytest.mark.parametrize("strength", [2, 3])
@pytest.mark.parametrize("seed", range(5))
def test_exactly_what_is_possible_is_covered(strength: int, seed: int) -> None:
    array, rows = made(strength, seed)
    assert all(map(is_possible, rows))
    wanted = combinations_in(all_rows(), strength)
    assert combinations_in(rows, strength) == wanted
    assert array.covered(strength) == array.feasible(strength) == len(wanted)


def test_few_rows_are_needed() -> None:
    largest = len(DIMENSIONS["command"]) * len(DIMENSIONS["size"])
    assert len(made(2)[1]) <= 2 * largest < len(all_rows())


def test_a_seed_gives_one_array_and_others_give_others() -> None:
    assert made(2, 7)[1] == made(2, 7)[1]
    assert len({str(made(2, seed)[1]) for seed in range(6)}) > 3


def test_first_rows_cover_most() -> None:
    whole, rows = made(3)
    part = CoveringArray(DIMENSIONS, list(combinations(DIMENSIONS, 3)), random.Random(1), clashes)
    half = list(part.rows(len(rows) // 2))
    assert half == rows[: len(half)]
    assert part.covered(3) > 0.65 * whole.covered(3)


def test_strengths_are_mixed() -> None:
    triple = ("command", "size", "then")
    sets = [*pairs_of(DIMENSIONS), triple]
    array = CoveringArray(DIMENSIONS, sets, random.Random(2))
    rows = list(array.rows())
    assert {tuple(row[name] for name in triple) for row in rows} == set(
        product(*(DIMENSIONS[name] for name in triple))
    )
    assert array.covered(3) == array.feasible(3) == 4 * 3 * 3
    assert array.covered(2) == array.feasible(2)


def test_a_dimension_needs_values() -> None:
    with pytest.raises(ValueError, match="without values"):
        CoveringArray({"one": ("a",), "other": ()}, [("one", "other")], random.Random(1))
