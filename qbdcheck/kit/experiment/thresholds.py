"""Where a length begins to fail, or to be right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

Fails = Callable[[int], bool | None]
"""Whether a value fails; None: not tried, or neither failure nor right."""


@dataclass(frozen=True)
class Range:
    """Values that fail around one that does.

    :ivar least: the smallest value that fails; ``too_small`` the one directly below it that is
        right; None: the smallest one that can be tried fails.
    :ivar most: the largest value that fails; ``too_large`` as above.
    :ivar is_regular: whether all that was tried fits: no value between both is right, and none
        outside fails.
    :ivar known: what was tried, by value: whether it failed.
    """

    least: int
    too_small: int | None
    most: int
    too_large: int | None
    is_regular: bool
    known: Mapping[int, bool]


def failing_range(value: int, unit: int, most: int, fails: Fails) -> Range:
    """Return which values fail around one that fails: multiples of ``unit`` up to ``most``."""
    known: dict[int, bool | None] = {value: True}

    def ask(one: int) -> bool | None:
        if one not in known:
            known[one] = fails(one)
        return known[one]

    least, too_small = value, None
    if value > unit and ask(unit) is not True:
        least, too_small = _edge(value, unit, unit, ask)
    elif value > unit:
        least = unit
    largest, too_large, larger = value, None, value
    while larger < most:
        larger = min(larger * 2, most // unit * unit)
        if larger <= largest:
            break
        if ask(larger) is True:
            largest = larger
            continue
        largest, too_large = _edge(largest, larger, unit, ask)
        break
    _sample(least, largest, unit, ask)
    irregular = any(
        (fail is False and least < one < largest) or (fail is True and not least <= one <= largest)
        for one, fail in known.items()
    )
    is_sure = all(known.get(edge) is False for edge in (too_small, too_large) if edge is not None)
    found = {one: fail for one, fail in sorted(known.items()) if fail is not None}
    return Range(least, too_small, largest, too_large, is_sure and not irregular, found)


def _edge(good: int, bad: int, unit: int, ask: Fails) -> tuple[int, int]:
    """Return neighbours of which the first fails and the second does not, between two such values.

    Before halving, the values at and beside powers of two are asked: most thresholds are there.
    """
    powers = [1 << bits for bits in range(40) if min(good, bad) < 1 << bits < max(good, bad)]
    for power in sorted(powers, key=lambda one: abs(one - good)):
        if not min(good, bad) < power < max(good, bad):
            continue
        good, bad = (power, bad) if ask(power) is True else (good, power)
    step = unit if bad < good else -unit
    for edge in (good - step, bad + step):
        if min(good, bad) < edge < max(good, bad):
            good, bad = (edge, bad) if ask(edge) is True else (good, edge)
    while abs(good - bad) > unit:
        middle = (good + bad) // 2 // unit * unit
        if middle in (good, bad):
            middle = min(good, bad) + unit
        fail = ask(middle)
        if fail is None:
            break
        good, bad = (middle, bad) if fail else (good, middle)
    return good, bad


def _sample(least: int, most: int, unit: int, ask: Fails) -> None:
    """Ask some values between, so that a pattern is not taken for a threshold."""
    span = most - least
    for one in (least + unit, least + span // 3 // unit * unit + unit, most - unit):
        if least < one < most:
            ask(one // unit * unit)


def refined(found: Range, unit: int, fails: Fails) -> Range:
    """Return the range with edges that were found in coarser steps, tried at their neighbours.

    Most edges are at the coarse value, or one ``unit`` from the one that is right.
    """
    known = dict(found.known)

    def ask(one: int) -> bool | None:
        if (failed := fails(one)) is not None:
            known[one] = failed
        return failed

    def edge(good: int, bad: int, step: int) -> tuple[int, int]:
        if abs(good - bad) <= unit:
            return good, bad
        if ask(bad + step) is True:
            return bad + step, bad
        return (good, good - step) if ask(good - step) is False else (good, bad + step)

    least, too_small, most, too_large = found.least, found.too_small, found.most, found.too_large
    if too_small is not None:
        least, too_small = edge(least, too_small, unit)
    if too_large is not None:
        most, too_large = edge(most, too_large, -unit)
    return Range(least, too_small, most, too_large, found.is_regular, dict(sorted(known.items())))
