"""Shrinking: makes a failing workload as short as possible while it still fails.

Delta debugging (Zeller and Hildebrandt, "Simplifying and isolating failure-inducing input", 2002):
first whole batches are removed, then single requests; then requests are sent one at a time, and
then they are shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TypeVar

from oracles.workload import Batch, Kind

_T = TypeVar("_T")
Fails = Callable[[list[Batch]], bool]
_SHORTEST = 512


class _Budget:
    """Limits the trials: each may cost a whole run."""

    def __init__(self, fails: Fails, trials: int) -> None:
        self._fails = fails
        self.left = trials

    def fails(self, batches: list[Batch]) -> bool:
        if self.left <= 0 or not batches:
            return False
        self.left -= 1
        return self._fails(batches)


def shrink(batches: Sequence[Batch], fails: Fails, *, trials: int = 500) -> list[Batch]:
    """Return a minimal part of a workload that still fails; requests keep their numbers.

    :param fails: runs a workload from the same start; returns whether it fails.
    :param trials: the most runs; then the smallest workload found so far is returned.
    :raise ValueError: the whole workload does not fail.
    """
    if not fails(list(batches)):
        raise ValueError("the workload does not fail: there is nothing to shrink")
    budget = _Budget(fails, trials)
    found = fewest(list(batches), budget.fails)
    for number in range(len(found)):
        found = _thin_out(found, number, budget)
    found = _one_at_a_time(found, budget)
    return _shorten(found, budget)


def fewest(items: list[_T], fails: Callable[[list[_T]], bool]) -> list[_T]:
    """Return a subsequence that fails, and that does not fail without any one of its items.

    :param fails: returns whether a shorter sequence fails.
    """
    parts = 2
    while len(items) > 1:
        step = -(-len(items) // parts)
        starts = range(0, len(items), step)
        for start in starts:
            rest = items[:start] + items[start + step :]
            if fails(rest):
                items, parts = rest, max(parts - 1, 2)
                break
        else:
            if step == 1:
                break
            parts = min(parts * 2, len(items))
    return items


def _thin_out(batches: list[Batch], number: int, budget: _Budget) -> list[Batch]:
    before, after = batches[:number], batches[number + 1 :]
    kept = fewest(list(batches[number]), lambda some: budget.fails([*before, tuple(some), *after]))
    return [*before, tuple(kept), *after]


def _one_at_a_time(batches: list[Batch], budget: _Budget) -> list[Batch]:
    alone: list[Batch] = [(request,) for batch in batches for request in batch]
    return alone if len(alone) > len(batches) and budget.fails(alone) else batches


def _shorten(batches: list[Batch], budget: _Budget) -> list[Batch]:
    """Halve the lengths of requests, from the end, as long as the workload still fails."""
    for number, batch in enumerate(batches):
        for place, request in enumerate(batch):
            length = request.length
            while length > _SHORTEST and request.kind is not Kind.RESIZE:
                length = max(_SHORTEST, length // 2)
                shorter = list(batches[number])
                shorter[place] = replace(request, length=length)
                trial = [*batches[:number], tuple(shorter), *batches[number + 1 :]]
                if not budget.fails(trial):
                    break
                batches = trial
    return batches
