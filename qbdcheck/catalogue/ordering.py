"""Order cases and split them into shards. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from random import Random
from typing import TypeVar

Unit = TypeVar("Unit")

UNKNOWN_S = 1.0
"""Assumed duration if no case has a recorded one, in seconds."""


def estimate(durations: Mapping[str, float]) -> float:
    """Return the expected duration of a case that has never run: the median, in seconds."""
    known = sorted(durations.values())
    return known[len(known) // 2] if known else UNKNOWN_S


def longest_first(units: Sequence[Unit], duration_s: Callable[[Unit], float]) -> list[Unit]:
    """Return `units` by descending duration, so that no long case starts last; a stable sort."""
    return sorted(units, key=lambda unit: -duration_s(unit))


def by_turns(units: Sequence[Unit], suite: Callable[[Unit], object]) -> list[Unit]:
    """Return `units` with the suites interleaved; the order within a suite does not change.

    A short suite is spread over the whole run: its N-th of M cases comes after N/M of the run. Each
    suite starts early, so bugs that only one suite can find are found early.
    """
    members: dict[object, int] = {}
    place: list[int] = []
    for unit in units:
        place.append(members.get(suite(unit), 0))
        members[suite(unit)] = place[-1] + 1
    share = [place[index] / members[suite(unit)] for index, unit in enumerate(units)]
    return [units[index] for index in sorted(range(len(units)), key=share.__getitem__)]


def listed_first(
    units: Sequence[Unit], name: Callable[[Unit], str], listed: Sequence[str]
) -> list[Unit]:
    """Return `units` with those that are in the list first, in its order; a stable sort."""
    place = {one: number for number, one in enumerate(listed)}
    return sorted(units, key=lambda unit: place.get(name(unit), len(place)))


def shuffled(units: Sequence[Unit], generator: Random) -> list[Unit]:
    """Return `units` in the order that `generator` draws."""
    mixed = list(units)
    generator.shuffle(mixed)
    return mixed


def shard(
    units: Sequence[Unit], part: int, parts: int, duration_s: Callable[[Unit], float]
) -> list[Unit]:
    """Return part `part` (from 1) of `parts` parts of about equal duration, in the given order.

    The longest remaining unit goes to the shortest part. If all parts are computed from the same
    units and durations, each unit is in exactly one part.
    """
    loads = [0.0] * parts
    chosen: set[int] = set()
    for index in sorted(range(len(units)), key=lambda index: -duration_s(units[index])):
        emptiest = loads.index(min(loads))
        loads[emptiest] += duration_s(units[index])
        if emptiest == part - 1:
            chosen.add(index)
    return [unit for index, unit in enumerate(units) if index in chosen]
