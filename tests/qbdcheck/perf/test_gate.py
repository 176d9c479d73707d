"""A tenth is found and nothing else is accused; a busy processor at another time is corrected."""

from __future__ import annotations

import pytest

from qbdcheck.perf.gate import ALL_SHAPES, compare, regressions
from qbdcheck.perf.rounds import Measured
from qbdcheck.perf.sample import CLIENT, IOPS, SERVER
from tests.qbdcheck.perf.samples import SHAPES, measured, sample

LIMIT = 0.05


def test_a_tenth_is_found_and_equal_builds_are_not_accused() -> None:
    found = accused = 0
    for seed in range(6):
        both = measured({"new": 1.1, "old": 1.0, "same": 1.0}, seed)
        found += bool(regressions(compare(both, "new", both, "old", paired=True), LIMIT))
        accused += bool(regressions(compare(both, "same", both, "old", paired=True), LIMIT))
    assert (found, accused) == (6, 0)


def test_a_shape_that_alone_became_slow_is_named() -> None:
    both = measured({"new": 1.0, "old": 1.0}, 5)
    one = SHAPES[2]
    both.samples["new"][one] = [sample(1.25) for _ in range(6)]
    wrong = regressions(compare(both, "new", both, "old", paired=True), LIMIT)
    assert {row.label for row in wrong} == {one.label}
    assert {row.metric for row in wrong} == {IOPS, SERVER}
    assert {row.word for row in wrong} == {"slower", "dearer"}


def test_the_noise_of_the_machine_widens_the_limit_of_iops_only() -> None:
    both = measured({"new": 1.2, "old": 1.0}, 6)
    rows = compare(both, "new", both, "old", paired=True)
    assert {row.metric for row in regressions(rows, LIMIT, noise=0.3)} == {SERVER}


def test_much_noise_shows_no_difference() -> None:
    both = measured({"new": 1.1, "old": 1.0}, 7, scatter=0.5)
    rows = compare(both, "new", both, "old", paired=True)
    assert not regressions(rows, LIMIT)
    assert "no difference shown" in {row.word for row in rows}


def test_faster_is_no_regression() -> None:
    both = measured({"new": 0.5, "old": 1.0}, 8)
    rows = compare(both, "new", both, "old", paired=True)
    assert not regressions(rows, LIMIT)
    of_all = {row.metric: row for row in rows if row.label == ALL_SHAPES}
    assert of_all[IOPS].word == "faster" and of_all[IOPS].ratio.value == pytest.approx(2, rel=0.1)
    assert of_all[SERVER].word == "cheaper"


def test_a_slow_processor_is_not_a_slow_target() -> None:
    before = measured({"t": 1.0}, 1)
    busy = measured({"t": 1.3}, 2, unit_s=0.013)
    slow = measured({"t": 1.3}, 2)
    assert not regressions(compare(busy, "t", before, "t", paired=False), LIMIT)
    assert regressions(compare(slow, "t", before, "t", paired=False), LIMIT)


def test_without_a_server_the_client_is_judged() -> None:
    both = Measured(
        SHAPES[:1],
        {
            "new": {SHAPES[0]: [sample(2.0, server=False)] * 5},
            "old": {SHAPES[0]: [sample(server=False)] * 5},
        },
    )
    rows = compare(both, "new", both, "old", paired=True)
    assert {row.metric for row in regressions(rows, LIMIT)} == {IOPS, CLIENT}
