"""In which order cases run, and which shard they belong to. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

Unit = TypeVar("Unit")

UNKNOWN_S = 1.0
"""Taken for a case that has never run, where no case has."""


def estimate(durations: Mapping[str, float]) -> float:
    """What to expect of a case that has never run, in seconds: the median of the others."""
    known = sorted(durations.values())
    return known[len(known) // 2] if known else UNKNOWN_S


def longest_first(units: Sequence[Unit], duration_s: Callable[[Unit], float]) -> list[Unit]:
    """`units` by descending duration, so that no long case starts last and keeps one lane busy.

    Equal ones keep their order.
    """
    return sorted(units, key=lambda unit: -duration_s(unit))


def by_turns(units: Sequence[Unit], suite: Callable[[Unit], object]) -> list[Unit]:
    """`units` so that the suites take turns, each in its own order.

    A short suite is spread over the whole run: its N-th of M cases comes where N/M of the run is,
    and its first one at the start. What only one suite can see is so looked for early.
    """
    members: dict[object, int] = {}
    place: list[int] = []
    for unit in units:
        place.append(members.get(suite(unit), 0))
        members[suite(unit)] = place[-1] + 1
    share = [place[index] / members[suite(unit)] for index, unit in enumerate(units)]
    return [units[index] for index in sorted(range(len(units)), key=share.__getitem__)]


def shuffled(units: Sequence[Unit], generator: Random) -> list[Unit]:
    """`units` in an order that only `generator` decides."""
    mixed = list(units)
    generator.shuffle(mixed)
    return mixed


def shard(
    units: Sequence[Unit], part: int, parts: int, duration_s: Callable[[Unit], float]
) -> list[Unit]:
    """Part `part` (from 1) of `parts`, of about equal duration, in the given order.

    The longest unit left goes to the emptiest part. Every unit is in exactly one part as long as
    all parts are computed from the same units and durations.
    """
    loads = [0.0] * parts
    chosen: set[int] = set()
    for index in sorted(range(len(units)), key=lambda index: -duration_s(units[index])):
        emptiest = loads.index(min(loads))
        loads[emptiest] += duration_s(units[index])
        if emptiest == part - 1:
            chosen.add(index)
    return [unit for index, unit in enumerate(units) if index in chosen]
