"""Order and shards."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qbdcheck.catalogue.ordering import (
    by_turns,
    estimate,
    listed_first,
    longest_first,
    shard,
    shuffled,
)
from qbdcheck.seed import Seed, case_seed, repeat_seed

DURATIONS = st.lists(st.floats(0, 100), max_size=30)


@given(DURATIONS, st.integers(1, 5))
def test_every_unit_is_in_exactly_one_shard_in_the_given_order(
    durations: list[float], parts: int
) -> None:
    units = list(range(len(durations)))
    found = [shard(units, part, parts, durations.__getitem__) for part in range(1, parts + 1)]
    assert sorted(unit for part in found for unit in part) == units
    assert all(part == sorted(part) for part in found)


@given(DURATIONS, st.integers(1, 5))
def test_no_shard_is_longer_than_the_mean_and_one_unit(durations: list[float], parts: int) -> None:
    units = list(range(len(durations)))
    for part in range(1, parts + 1):
        load = sum(durations[unit] for unit in shard(units, part, parts, durations.__getitem__))
        assert load <= sum(durations) / parts + max(durations, default=0) + 1e-6


def test_longest_first_keeps_equal_ones_in_order() -> None:
    assert longest_first(["a", "bb", "c", "dd"], len) == ["bb", "dd", "a", "c"]


def test_listed_ones_come_first_in_the_order_of_the_list() -> None:
    listed = ["d", "b", "gone"]
    assert listed_first(["a", "b", "c", "d"], str, listed) == ["d", "b", "a", "c"]
    assert listed_first(["b", "a"], str, []) == ["b", "a"]


def test_interleaved_suites_keep_their_own_order() -> None:
    units = [f"{suite}{number}" for suite, count in (("a", 6), ("b", 3), ("c", 1))
             for number in range(count)]  # fmt: skip
    ordered = by_turns(units, lambda unit: unit[0])
    assert ordered == ["a0", "b0", "c0", "a1", "a2", "b1", "a3", "a4", "b2", "a5"]
    assert by_turns([], lambda unit: unit) == []


def test_a_case_without_a_recorded_duration_counts_with_the_median() -> None:
    assert estimate({"a": 1.0, "b": 5.0, "c": 100.0}) == 5.0
    assert estimate({}) == 1.0


def test_a_shuffle_depends_on_the_seed_alone() -> None:
    units = list(range(50))
    once, again = (shuffled(units, Seed(3).stream("order")) for _ in range(2))
    assert once == again != units
    assert sorted(once) == units


def test_streams_of_a_seed_are_independent_and_repeatable() -> None:
    seed = Seed(7)
    assert seed.stream("a").random() == seed.stream("a").random()
    assert seed.stream("a").random() != seed.stream("b").random()
    assert seed.stream("a").random() != Seed(8).stream("a").random()


def test_the_seed_of_a_case_depends_on_run_case_and_format() -> None:
    seeds = {
        case_seed(run, case, image)
        for run in (1, 2)
        for case in ("001_a", "002_b")
        for image in ("raw", "qcow2")
    }
    assert len(seeds) == 8
    assert case_seed(1, "001_a", "raw") == case_seed(1, "001_a", "raw")


def test_the_first_repetition_has_the_seed_of_the_run() -> None:
    assert repeat_seed(5, 0) == 5
    assert len({repeat_seed(5, repetition) for repetition in range(20)}) == 20
