"""RangeSet behaves as a set of integers."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from reference_backend.store.ranges import RangeSet

ENDS = st.tuples(st.integers(0, 30), st.integers(0, 30))


@given(st.lists(st.tuples(st.booleans(), ENDS), max_size=20), ENDS)
def test_a_range_set_is_a_set_of_integers(
    changes: list[tuple[bool, tuple[int, int]]], window: tuple[int, int]
) -> None:
    ranges, model = RangeSet(), set()
    for add, (start, end) in changes:
        if add:
            ranges.add(start, end)
            model |= set(range(start, end))
        else:
            ranges.remove(start, end)
            model -= set(range(start, end))
    found = list(ranges)
    assert [n for start, end in found for n in range(start, end)] == sorted(model)
    assert all(a[1] < b[0] for a, b in pairwise(found))
    assert bool(ranges) == bool(model)
    asked = set(range(*window))
    inside = [n for start, end in ranges.inside(*window) for n in range(start, end)]
    outside = [n for start, end in ranges.outside(*window) for n in range(start, end)]
    assert inside == sorted(asked & model)
    assert outside == sorted(asked - model)
