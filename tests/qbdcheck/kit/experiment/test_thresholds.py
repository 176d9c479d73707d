"""Edges of lengths are found, and a pattern is not taken for an edge."""

from hypothesis import given
from hypothesis import strategies as st

from qbdcheck.kit.experiment.thresholds import failing_range, refined

MOST = 1 << 20


@given(st.integers(1, 400), st.integers(0, 400))
def test_both_edges_of_a_range_are_found(low: int, more: int) -> None:
    low, high = low * 512, (low + more) * 512
    found = failing_range(low, 512, MOST, lambda one: low <= one <= high)
    assert (found.least, found.most) == (low, high)
    assert found.too_small == (low - 512 if low > 512 else None)
    assert found.too_large == high + 512


def test_what_always_fails_has_no_edges() -> None:
    found = failing_range(4096, 512, MOST, lambda _: True)
    assert (found.least, found.too_small) == (512, None)
    assert (found.most, found.too_large) == (MOST, None)
    assert found.is_regular


def test_multiples_are_no_range() -> None:
    found = failing_range(4096, 512, MOST, lambda one: not one % 4096)
    assert not found.is_regular


def test_a_value_that_cannot_be_tried_is_neither() -> None:
    found = failing_range(4096, 512, MOST, lambda one: None if one < 4096 else True)
    assert not found.is_regular
    assert all(found.known.values())


@given(st.sampled_from([65535, 65536, 65537, 65025]))
def test_edges_are_refined_to_the_byte(edge: int) -> None:
    found = failing_range(131072, 512, MOST, lambda one: one >= edge)
    exact = refined(found, 1, lambda one: one >= edge)
    assert exact.too_small is not None
    assert found.too_small is not None
    assert found.too_small <= exact.too_small < edge <= exact.least <= found.least
    if edge in (65536, 65025):
        assert (exact.least, exact.too_small) == (edge, edge - 1)
