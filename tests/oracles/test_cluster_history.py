"""The oracle of a replicated volume, with histories of one sector."""

from __future__ import annotations

import pytest

from oracles.cluster_history import TORN, Flush, History, judge
from oracles.damage import Damage
from oracles.linearizability import NEVER, Access


def write(value: int, call: float, returned: float = NEVER) -> Access:
    return Access(0, True, value, call, returned, 1, value)


def read(value: int, call: float, number: int = 90) -> Access:
    return Access(0, False, value, call, call + 0.1, 2, number)


RIGHT = {
    "a failed write appears late": ([write(1, 0), read(0, 1), read(1, 5)], [], []),
    "a loss takes back what was not flushed": ([write(1, 0, 1), read(0, 5)], [], [3]),
    "an acknowledgement after the loss": ([write(1, 0, 4), read(0, 5)], [], [3]),
    "a flushed write and a later one": (
        [write(1, 0, 1), write(2, 2, 3), read(2, 3.5), read(1, 5)], [Flush(1.5, 1.8)], [4],
    ),
}  # fmt: skip
WRONG = {
    "lost": ([write(1, 0, 1), read(0, 5)], [], [], Damage.LOST),
    "stale": ([write(1, 0, 1), read(0, 5), read(1, 6)], [], [], Damage.STALE),
    "lost though flushed": ([write(1, 0, 1), read(0, 5)], [Flush(1, 2)], [3], Damage.LOST),
    "lost after the loss": ([write(1, 3.5, 4), read(0, 5)], [], [3], Damage.LOST),
    "torn": ([write(1, 0, 1), read(TORN, 5)], [], [], Damage.TORN),
    "of nobody": ([read(7, 5)], [], [], Damage.UNKNOWN),
    "back and forth": (
        [write(1, 0, 9), write(2, 1, 2), read(1, 3), read(2, 4), read(1, 5)], [], [],
        Damage.NOT_LINEARIZABLE,
    ),
    "two values after one loss": (
        [write(1, 0, 1), write(2, 1.1, 2), read(1, 5), read(2, 6)], [], [3],
        Damage.NOT_LINEARIZABLE,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right(name: str) -> None:
    accesses, flushes, losses = RIGHT[name]
    assert not judge(History(accesses, flushes, losses))


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_has_its_kind(name: str) -> None:
    accesses, flushes, losses, damage = WRONG[name]
    found = judge(History(accesses, flushes, losses))
    assert [one.damage for one in found] == [damage], f"{found}"
    assert "nan" not in str(found) and "never to" not in str(found)


def test_nothing_read_is_not_judged() -> None:
    assert not judge(History([write(1, 0, 1)])).is_judged
