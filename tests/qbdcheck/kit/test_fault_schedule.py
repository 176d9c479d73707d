"""Schedules over the real rule engine: each fault that starts also ends."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import pytest

from blockio.errors import BlockError
from blockio.layers import Command, Reply, Request
from qbdcheck.errors import CaseBroken
from qbdcheck.kit.fault_schedule import Rule, Schedule
from reference_backend.events import Events
from reference_backend.rule_layer import RuleLayer

WRITE_ERROR = {"event": "write_aio", "errno": "EIO", "iotype": "write"}


@dataclass
class Count:
    fired: int


class Engine:
    """Rules and a disk that accepts every request, without a server."""

    def __init__(self) -> None:
        self._place = RuleLayer(seed=1)
        self._do = self._place.control_commands(Events())
        self._cookies = itertools.count()

    def add(self, rule: Rule) -> str:
        identity: str = self._do["rule-add"](dict(rule))["id"]
        return identity

    def remove(self, identity: str) -> None:
        self._do["rule-del"]({"id": identity})

    def seen(self, identity: str) -> Count:
        return Count(next(r["fired"] for r in self.rules() if r["id"] == identity))

    def rules(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._do["query-rules"]({})["rules"]
        return found

    def write(self) -> int:
        """Return the errno of one write."""
        request = Request(Command.WRITE, 0, 0, 512, next(self._cookies), bytes(512))
        try:
            return self._place.handle(request, lambda _: Reply()).error
        except BlockError as error:
            return error.errno

    def writes(self, count: int) -> list[int]:
        return [self.write() for _ in range(count)]


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def schedule(engine: Engine) -> Schedule:
    return Schedule(engine, lambda *_: None)


def test_a_phase_arms_its_rules_and_heals_them(engine: Engine, schedule: Schedule) -> None:
    assert engine.write() == 0
    with schedule.phase("fill", WRITE_ERROR) as [identity]:
        assert engine.writes(2) == [5, 5]
        assert engine.seen(identity).fired == 2
    assert engine.write() == 0
    assert engine.rules() == []


def test_a_phase_heals_when_its_body_fails(engine: Engine, schedule: Schedule) -> None:
    with pytest.raises(ZeroDivisionError), schedule.phase("fill", WRITE_ERROR):
        _ = 1 // 0
    assert engine.rules() == []


def test_a_phase_whose_second_rule_is_wrong_leaves_nothing_armed(
    engine: Engine, schedule: Schedule
) -> None:
    with (
        pytest.raises(ValueError, match="event"),
        schedule.phase("fill", WRITE_ERROR, {"event": "no_such"}),
    ):
        raise AssertionError("never reached")
    assert engine.rules() == []


def test_phases_come_from_a_text(engine: Engine, schedule: Schedule) -> None:
    schedule.load("phases: {a: [{event: write_aio, errno: ENOSPC}], b: [{event: none}]}")
    with schedule.phase("a"):
        assert engine.write() == 28
    with pytest.raises(CaseBroken, match="these phases never started: b"):
        schedule.settle()
    with schedule.phase("b"):
        assert engine.write() == 5
    schedule.settle()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("phases: [a]", "write `phases"),
        ("phase: {a: []}", "write `phases"),
        ("phases: {a: {event: none}}", "phase a is not a list"),
        ("a: [", "schedule: "),
    ],
)
def test_a_wrong_text_is_reported(schedule: Schedule, text: str, complaint: str) -> None:
    with pytest.raises(CaseBroken, match=complaint):
        schedule.load(text)


def test_an_unknown_phase_names_the_known_ones(schedule: Schedule) -> None:
    schedule.load("phases: {fill: [{event: none}]}")
    with pytest.raises(CaseBroken, match="loaded phases: fill"), schedule.phase("fil"):
        raise AssertionError("never reached")


def test_a_fault_at_the_nth_request_heals_itself(engine: Engine, schedule: Schedule) -> None:
    schedule.at(3, WRITE_ERROR, heals_after=2)
    assert engine.writes(6) == [0, 0, 5, 5, 0, 0]


def test_a_sweep_hits_each_request_once_and_ends_with_a_clean_run(
    engine: Engine, schedule: Schedule
) -> None:
    seen = []
    for turn in schedule.sweep(WRITE_ERROR):
        seen.append((turn.number, engine.writes(3), turn.fired))  # noqa: PERF401
    assert seen == [
        (1, [5, 0, 0], True),
        (2, [0, 5, 0], True),
        (3, [0, 0, 5], True),
        (4, [0, 0, 0], False),
    ]
    assert engine.rules() == []


def test_a_sweep_that_is_left_early_heals(engine: Engine, schedule: Schedule) -> None:
    sweep = schedule.sweep(WRITE_ERROR)
    next(sweep)
    assert len(engine.rules()) == 1
    sweep.close()
    assert engine.rules() == []


def test_a_sweep_that_hits_nothing_is_an_error(schedule: Schedule) -> None:
    with pytest.raises(CaseBroken, match="met no request"):
        for _turn in schedule.sweep(WRITE_ERROR):
            pass


def test_a_sweep_without_end_is_reported(engine: Engine, schedule: Schedule) -> None:
    with pytest.raises(CaseBroken, match="found no end"):
        for turn in schedule.sweep(WRITE_ERROR, most=5):
            engine.writes(turn.number)


@pytest.mark.parametrize("key", ["after", "count", "every", "once"])
def test_a_rule_that_sets_its_own_time_is_refused(schedule: Schedule, key: str) -> None:
    with pytest.raises(CaseBroken, match=key):
        schedule.at(1, {**WRITE_ERROR, key: 2})
