"""The simulation repeats itself, and does what its schedule says."""

from __future__ import annotations

import re

import pytest

from oracles.damage import Damage
from qbdcheck.kit.cluster.hunt import ClusterWrong, hunt, smallest
from qbdcheck.kit.cluster.schedule import (
    EVENTS,
    FAULTS,
    Schedule,
    Step,
    generate,
    generate_at_events,
)
from qbdcheck.kit.cluster.simulation import simulate


def test_a_schedule_has_one_outcome() -> None:
    one, again = simulate(generate(7)), simulate(generate(7))
    assert (one.events, one.trace, one.happened) == (again.events, again.trace, again.happened)
    assert simulate(generate(8)).events != one.events


@pytest.mark.parametrize("kind", FAULTS)
def test_each_fault_happens_and_is_survived(kind: str) -> None:
    requests = tuple(Step(2 + at / 20, ("read", "write")[at % 2], at % 3, 0, 4) for at in range(40))
    fault = Step(2.5, kind, 3, 0, 0, 1.0, 0.8)
    outcome = simulate(Schedule(1, tuple(sorted((fault, *requests)))))
    assert outcome.happened[kind] >= 1
    assert not outcome.findings
    assert outcome.requests == len(requests) + 15


@pytest.mark.parametrize("event", EVENTS)
def test_a_fault_waits_for_its_event(event: str) -> None:
    requests = tuple(
        Step(2 + at / 20, ("flush", "write")[at % 2], at % 3, 0, 4) for at in range(40)
    )
    first = Step(2.1, "kill", 3, 0, 0, 0.1, 0.8)  # it makes a node start, and others vote
    fault = Step(2.0, "pause", 0, 0, 0, 0.3, 0.8, event, 0.01)
    outcome = simulate(Schedule(1, tuple(sorted((first, fault, *requests)))))
    assert outcome.happened["pause"] == 1
    assert not outcome.findings
    never = simulate(Schedule(1, (fault._replace(at=50.0), *requests)))
    assert never.happened["pause"] == 0


def test_schedules_at_events_repeat_themselves() -> None:
    schedule = generate_at_events(7)
    assert Schedule.from_json(schedule.to_json()) == schedule
    assert simulate(schedule).trace == simulate(generate_at_events(7)).trace
    assert "after the first" in str(schedule)
    assert all(
        step.what in {"kill", "cut"} for step in generate_at_events(7, ("kill", "cut"), 0).steps
    )


def test_a_mutant_is_found_and_its_schedule_shrunk() -> None:
    found = hunt(range(50), "drops-in-flight")
    assert found.damages & {Damage.LOST, Damage.STALE}
    small = smallest(found, "drops-in-flight")
    assert small.failing and found.failing
    assert len(small.failing.steps) < len(found.failing.steps)
    assert "drops" not in str(small) and "node" in str(small)


def test_nothing_to_shrink() -> None:
    with pytest.raises(ValueError, match="no schedule failed"):
        smallest(hunt([1]))


def test_a_wrong_cluster_is_reported_with_the_faults_before() -> None:
    with pytest.raises(ClusterWrong) as caught:
        hunt(range(50), "drops-in-flight").must_be_right("this one")
    finding = caught.value.findings[0]
    assert finding.damage in {Damage.LOST, Damage.STALE}
    assert re.search(
        r"; before: .*[a-z]+ of (its )?(node \d|all nodes) for .* \(at \d", finding.remark
    )
    assert any("leads epoch" in line for line in finding.evidence)
    times = [float(line.split(" s")[0]) for line in finding.evidence if line[0].isdigit()]
    assert times == sorted(times)
    assert str(caught.value).startswith("this one: ")
    hunt([1]).must_be_right()
