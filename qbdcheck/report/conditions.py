"""What all damaged writes of some failures share, and no right write of the same volumes does.

A condition is about the beginnings, ends, lengths and flags of writes. It is reported only if it
holds for each damaged write and for no right one, if there are enough of both, and if it also
follows from most of the failures alone. So it says what was seen in this run. Where damage comes by
chance, right writes fulfil each condition too, and none is reported.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from blockio.sizes import exact_size
from oracles.contrast import damaged_writes
from oracles.damage import Damage, Operation
from oracles.finding import Finding
from qbdcheck.report.events import CaseEnded

_PLACE = re.compile(r"\bat (?:offset )?(\d+)")
"""The place that the message of a failure names."""
_BOTH = "write or write zeroes"
_PLURALS = {
    "write": "writes",
    "write zeroes": "write zeroes requests",
    _BOTH: "writes and write zeroes requests",
}
_LEAST_DAMAGED, _LEAST_RIGHT = 5, 20
"""Different writes that one condition needs; two conditions together need more of the first."""
_LEAST_FOR_TWO = 8
_WINDOW_MAX = 2 << 20
"""Bytes of a part of the volume that explains failures without a damaged write."""
_STABLE = 0.7
"""The share of the failures that must fit what the others teach."""
_UNITS = [1 << bits for bits in range(9, 31)]
"""Bytes: units that offsets of requests are divided by."""
_STEPS = [1 << bits for bits in range(1, 13)]
"""Bytes: units that lengths are divided by."""


@dataclass(frozen=True)
class Atom:
    """A property of writes, as the rest of a sentence whose subject is ``the damaged writes``.

    ``unit``: they end at multiples of so many bytes; 0 for other properties. ``is_window``: it
    names a place on the volume with two ends.
    """

    text: str
    holds: Callable[[Operation], bool]
    unit: int = 0
    is_window: bool = False


@dataclass(frozen=True)
class Condition:
    """What damaged writes share, and how many there are.

    :ivar start: where the part of the volume begins that has all damaged writes, in bytes;
        ``end``: where it ends; both 0 if right writes are on one side of it only.
    :ivar moves: by how many bytes data went to a wrong place.
    """

    kind: str
    atoms: tuple[Atom, ...]
    damaged: int
    right: int
    start: int = 0
    end: int = 0
    moves: frozenset[int] = frozenset()

    def __str__(self) -> str:
        shared = " and ".join(atom.text for atom in self.atoms)
        requests = _PLURALS[self.kind]
        return (
            f"all {self.damaged} damaged {requests} {shared}, none of {self.right} right ones does"
        )


def condition_of(failures: Sequence[Sequence[Finding]]) -> Condition | None:
    """Return what the damaged writes of failures share and right ones do not; None if unknown.

    :param failures: the findings of each failed case; those that name no write are left out.
    """
    failures = [one for one in failures if damaged_writes(one)]
    damaged = [_distinct(damaged_writes(one)) for one in failures]
    right = [_distinct([write for each in one for write in each.right_writes]) for one in failures]
    every = _distinct([write for one in damaged for write in one])
    kinds = {_kind(write) for write in every}
    if not kinds:
        return None
    kind = kinds.pop() if len(kinds) == 1 else _BOTH
    sound = [[write for write in one if kind in (_BOTH, _kind(write))] for one in right]
    others = _distinct([write for one in sound for write in one])
    found = _learn(every, others)
    if found is None or not _is_stable(damaged, sound):
        return None
    start, end = 0, 0
    if any(atom.is_window for atom in found):
        start, end = min(map(_begin, every)), max(map(_end, every))
    moves = frozenset(one.moved for each in failures for one in each
                      if one.moved and one.damage is Damage.MISDIRECTED)  # fmt: skip
    return Condition(kind, found, len(every), len(others), start, end, moves)


def fulfils(findings: Sequence[Finding], condition: Condition) -> bool:
    """Return whether a failure names damaged writes, and the condition holds for each of them."""
    writes = damaged_writes(findings)
    return bool(writes) and all(
        condition.kind in (_BOTH, _kind(write))
        and all(atom.holds(write) for atom in condition.atoms)
        for write in writes
    )


def lies_in(case: CaseEnded, condition: Condition) -> bool:
    """Return whether all damage of a case is where damaged writes are missing or were put.

    That holds only of a small part of the volume that is bounded on both sides. The places of a
    failure without findings are in its message.
    """
    if not 0 < condition.end - condition.start <= _WINDOW_MAX:
        return False
    places = [(one.offset, one.length) for one in case.findings if one.length and not one.follows]
    if not case.findings:
        places = [(int(number), 1) for number in _PLACE.findall(case.message)]
    return bool(places) and all(
        any(
            condition.start + moved < offset + length and offset < condition.end + moved
            for moved in (0, *condition.moves)
        )
        for offset, length in places
    )


def _distinct(writes: Sequence[Operation]) -> list[Operation]:
    """Return one write for each kind, place and length."""
    return list({(one.offset, one.length, one.text): one for one in writes if one.length}.values())


def _kind(write: Operation) -> str:
    return "write zeroes" if write.text.startswith("write zeroes") else "write"


def _learn(damaged: Sequence[Operation], right: Sequence[Operation]) -> tuple[Atom, ...] | None:
    """Return one or two properties that all damaged writes have and no right one; None without."""
    if len(damaged) < _LEAST_DAMAGED or len(right) < _LEAST_RIGHT:
        return None
    atoms = list(_atoms(damaged, right))
    for atom in atoms:
        if not any(map(atom.holds, right)):
            return (atom,)
    if len(damaged) < _LEAST_FOR_TWO:
        return None
    for atom in atoms:
        like = [write for write in right if atom.holds(write)]
        for second in (*_not_both(atom, damaged), *_atoms(damaged, like)):
            if second.text != atom.text and not any(map(second.holds, like)):
                return atom, second
    return None


def _not_both(atom: Atom, damaged: Sequence[Operation]) -> Iterator[Atom]:
    """Yield that writes which end at multiples of a unit do not begin at one."""
    if atom.unit and all(one.offset % atom.unit for one in damaged):
        yield Atom("do not begin at one", _divides(_begin, atom.unit, is_not=True))


def _is_stable(
    damaged: Sequence[Sequence[Operation]], right: Sequence[Sequence[Operation]]
) -> bool:
    """Return whether most failures fit what the others teach."""
    if len(damaged) < 3:
        return True
    fitting = 0
    for left_out, writes in enumerate(damaged):
        rest = [write for at, one in enumerate(damaged) if at != left_out for write in one]
        sound = [write for at, one in enumerate(right) if at != left_out for write in one]
        found = _learn(_distinct(rest), _distinct(sound)) or ()
        fits = all(atom.holds(write) for atom in found for write in writes)
        wrongly = any(all(atom.holds(write) for atom in found) for write in right[left_out])
        fitting += bool(found) and fits and not wrongly
    return fitting >= _STABLE * len(damaged)


def _atoms(damaged: Sequence[Operation], right: Sequence[Operation]) -> Iterator[Atom]:
    """Yield properties that all damaged writes have, the most usual triggers of bugs first."""
    yield from _flags(damaged)
    yield from _crossings(damaged)
    yield from _multiples(damaged)
    yield from _bounds(damaged, right)
    yield from _lengths(damaged)


def _flags(damaged: Sequence[Operation]) -> Iterator[Atom]:
    if all(map(_has_fua, damaged)):
        yield Atom("have FUA", _has_fua)
    elif not any(map(_has_fua, damaged)):
        yield Atom("have no FUA", lambda write: not _has_fua(write))


def _has_fua(write: Operation) -> bool:
    return write.text.endswith("(FUA)")


def _crossings(damaged: Sequence[Operation]) -> Iterator[Atom]:
    def crosses(unit: int) -> Callable[[Operation], bool]:
        return lambda one: one.offset // unit != (one.offset + one.length - 1) // unit

    units = [unit for unit in _UNITS if all(map(crosses(unit), damaged))]
    if units:
        yield Atom(f"cross a multiple of {exact_size(units[-1])}", crosses(units[-1]))


def _multiples(damaged: Sequence[Operation]) -> Iterator[Atom]:
    """Yield at which units all writes begin or end, and at which none does."""
    places: tuple[tuple[str, Callable[[Operation], int]], ...] = (
        ("end", _end),
        ("begin", _begin),
    )
    for verb, place in places:
        if at := [unit for unit in _UNITS if all(place(one) % unit == 0 for one in damaged)]:
            text = f"{verb} at a multiple of {exact_size(at[-1])}"
            yield Atom(text, _divides(place, at[-1]), at[-1] if verb == "end" else 0)
    for verb, place in places:
        if off := [unit for unit in _UNITS if all(place(one) % unit for one in damaged)]:
            text = f"do not {verb} at a multiple of {exact_size(off[0])}"
            yield Atom(text, _divides(place, off[0], is_not=True))


def _divides(
    value: Callable[[Operation], int], unit: int, *, is_not: bool = False
) -> Callable[[Operation], bool]:
    return lambda one: bool(value(one) % unit) is is_not


def _lengths(damaged: Sequence[Operation]) -> Iterator[Atom]:
    """Yield units of which all lengths, or none, are multiples."""
    if off := [unit for unit in _STEPS if all(one.length % unit for one in damaged)]:
        text = f"have a length that is no multiple of {off[0]} bytes"
        yield Atom(text, _divides(lambda one: one.length, off[0], is_not=True))


def _bounds(damaged: Sequence[Operation], right: Sequence[Operation]) -> Iterator[Atom]:
    """Yield bounds of lengths and places, rounded as far as the right writes allow it."""
    for text, value in (
        ("have a length", lambda one: one.length),
        ("begin", _begin),
        ("end", _end),
    ):
        low, high = min(map(value, damaged)), max(map(value, damaged))
        below = max((value(one) for one in right if value(one) < low), default=None)
        above = min((value(one) for one in right if value(one) > high), default=None)
        first = None if below is None else _roundest(below + 1, low)
        behind = None if above is None else _roundest(high + 1, above)
        yield from _within(text, value, first, behind, high)


def _within(
    text: str, value: Callable[[Operation], int], first: int | None, behind: int | None, high: int
) -> Iterator[Atom]:
    """Yield values from ``first`` on and below ``behind``; None: no bound."""
    is_length = text == "have a length"
    if first is not None and (is_length or behind is None):
        lower = (
            f"{text} of at least {exact_size(first)}"
            if is_length
            else f"{text} at {exact_size(first)}"
        )
        or_behind = "" if is_length else " or behind it"
        yield Atom(lower + or_behind, lambda one: value(one) >= first)
    if behind is not None and (is_length or first is None):
        most = _roundest(high, behind - 1)
        upper = f"of at most {exact_size(most)}" if is_length else f"before {exact_size(behind)}"
        end = most + 1 if is_length else behind
        yield Atom(f"{text} {upper}", lambda one: value(one) < end)
    if first is not None and behind is not None:
        bounds = f"from {exact_size(first)} on and before {exact_size(behind)}"
        if is_length:
            most = _roundest(high, behind - 1)
            bounds = f"of {exact_size(first)} to {exact_size(most)}"
        yield Atom(
            f"{text} {bounds}",
            lambda one: first <= value(one) < behind,
            is_window=not is_length,
        )


def _begin(write: Operation) -> int:
    return write.offset


def _end(write: Operation) -> int:
    return write.offset + write.length


def _roundest(low: int, high: int) -> int:
    """Return the number from ``low`` to ``high`` that the largest power of two divides."""
    for bits in reversed(range(high.bit_length())):
        if (found := high >> bits << bits) >= low and found:
            return found
    return high
