"""Snapshots that are possible, and snapshots that are not."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import pytest

from oracles.consistent_cut import ZEROES, Cut, contradictions
from oracles.linearizability import INITIAL, NEVER, Access


def write(sector: int, value: int, call: float, returned: float) -> Access:
    return Access(sector, True, value, call, returned, 1, value)


# one after the other: #1 to sector 0, #2 to sector 1, #3 to sector 0; #4 was never answered
WRITES = (write(0, 1, 0, 10), write(1, 2, 20, 30), write(0, 3, 40, 50), write(2, 4, 45, NEVER))


@pytest.mark.parametrize(
    ("asked", "answered", "values", "message"),
    [
        (12, 18, (1, INITIAL, INITIAL), ""),
        (5, 25, (INITIAL, INITIAL, INITIAL), ""),
        (5, 25, (1, 2, INITIAL), ""),
        (5, 25, (INITIAL, 2, INITIAL), "#1 was answered, and is lost: sector 0 is as before #1"),
        (5, 45, (3, INITIAL, INITIAL), "#2 was answered, and is lost: sector 1 is as before #2"),
        (12, 18, (INITIAL, INITIAL, INITIAL), "as before #1; 2 later it was requested"),
        (12, 18, (1, 2, INITIAL), "it was answered; 2 later write #2, which sector 1"),
        (60, 70, (1, 2, INITIAL), "#3 was answered, and is lost: sector 0 has #1"),
        (60, 70, (3, 2, INITIAL), ""),
        (60, 70, (3, 2, 4), ""),
        (30, 42, (3, 2, 4), "3 later write #4"),
        (60, 70, (ZEROES, 2, 4), "sector 0, 512 bytes: zeroed, expected write #3"),
        (60, 70, (3, 2, ZEROES), "sector 2, 512 bytes: zeroed, expected the start"),
        (60, 70, (3, 1, 4), "sector 1, 512 bytes: write #1, which was not written there"),
        (60, 70, (3, None, 4), ""),
    ],
)
def test_a_snapshot_is_judged_by_its_times_and_values(
    asked: float, answered: float, values: tuple[int | None, ...], message: str
) -> None:
    found = contradictions(Cut(asked, answered, values), WRITES)
    assert len(found) == bool(message)
    assert message in str(found)


def _moments() -> Iterator[tuple[int, ...]]:
    """Yield all contents that a snapshot requested at 0 and answered at 100 may have."""
    for moments in product((0, 10), (20, 30), (40, 50), (45, 1000)):
        for cut in (-1, 5, 15, 25, 35, 42, 47, 60, 100):
            holds = [INITIAL] * 3
            for one, moment in sorted(zip(WRITES, moments, strict=True), key=lambda pair: pair[1]):
                if moment <= cut:
                    holds[one.sector] = one.value
            yield tuple(holds)


def test_exactly_the_possible_snapshots_are_allowed() -> None:
    may_be = set(_moments())
    values = {0: (INITIAL, 1, 3), 1: (INITIAL, 2), 2: (INITIAL, 4)}
    for holds in product(*values.values()):
        allowed = not contradictions(Cut(-1, 100, holds), WRITES)
        assert allowed == (holds in may_be), holds
