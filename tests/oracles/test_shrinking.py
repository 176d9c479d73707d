import random

import pytest

from oracles.shrinking import shrink
from oracles.workload import Batch, Kind, Mix, Request, generate
from tests.oracles.test_dual_write import SIZE, pair


def kinds_of(batches: list[Batch]) -> list[Kind]:
    return [request.kind for batch in batches for request in batch]


@pytest.mark.parametrize("depth", [1, 16])
def test_a_failing_workload_shrinks_to_what_the_fault_needs(depth: int) -> None:
    batches = generate(random.Random(1), SIZE, 300, Mix(depth=depth, longest=20_000))

    def fails(some: list[Batch]) -> bool:
        dual = pair(rules="{event: pwritev_zero, iotype: write-zeroes, action: drop}")
        dual.run(some)
        return bool(dual.mismatches)

    shortest = shrink(batches, fails)
    assert kinds_of(shortest) == [Kind.ZERO, Kind.READ]
    zero, read = (request for batch in shortest for request in batch)
    assert zero.offset < read.offset + read.length
    assert fails(shortest)


def test_no_request_of_the_shrunk_workload_can_be_removed() -> None:
    batches = [(Request(n, Kind.READ, 0, 512),) for n in range(1, 65)]

    def fails(some: list[Batch]) -> bool:
        return {3, 30, 60} <= {request.number for batch in some for request in batch}

    assert [batch[0].number for batch in shrink(batches, fails)] == [3, 30, 60]


def test_shrinking_keeps_requests_in_flight_together_if_the_fault_needs_it() -> None:
    batch = tuple(Request(n, Kind.READ, 0, 512) for n in range(8))
    assert shrink([batch] * 5, lambda some: max(map(len, some)) >= 2) == [batch[-2:]]


def test_a_workload_that_does_not_fail_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fail"):
        shrink([(Request(1, Kind.READ, 0, 512),)], lambda some: False)


def test_the_number_of_trials_has_a_limit() -> None:
    trials = []

    def fails(some: list[Batch]) -> bool:
        trials.append(len(some))
        return len(some) > 500

    shrink([(Request(n, Kind.READ, 0, 512),) for n in range(1000)], fails, trials=50)
    assert len(trials) == 51
