"""Which lengths and places of a request fail: rules, of which all but one are refuted by trials.

A rule is up to three properties that must hold together, such as "begins at a multiple of 4,096"
and "at least 65,536 bytes long". Rules that contradict a trial are dropped. Where several are left,
the next trial is one on which they disagree. At the end, further trials must fit the rule.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from qbdcheck.seed import Seed

Shape = tuple[int, int]
"""Offset and length of a request in bytes."""
_UNITS = [1 << bits for bits in range(9, 21)]
_MOST_ATOMS = 3
_ENOUGH = 4
"""Trials that confirm a rule, where there was no room for more."""
_LEFT = 400
"""Rules that are compared at most."""


@dataclass(frozen=True)
class Property:
    """A property of a request, as the rest of a sentence whose subject is the request."""

    text: str
    holds: Callable[[Shape], bool]
    cost: int = 1


Rule = tuple[Property, ...]


@dataclass(frozen=True)
class Explained:
    """What the trials leave: the rule that all of them fit, or None; and how many there are."""

    rule: Rule | None
    samples: Mapping[Shape, bool]


def holds(rule: Rule, shape: Shape) -> bool:
    """Return whether all properties of a rule hold; of a rule without any they do."""
    return all(one.holds(shape) for one in rule)


def properties(lengths: Iterable[tuple[int, bool, str]], size: int) -> list[Property]:
    """Return the properties that rules are made of.

    :param lengths: edges that trials have found, each with whether it is a lower one, and
        further words.
    :param size: of the volume, in bytes.
    """
    found: list[Property] = []
    found += [_of_edge(edge, doubt, is_least=least) for edge, least, doubt in lengths]
    for unit in _UNITS:
        found += _of_unit(unit)
    found.append(Property("ends at the end of the volume", lambda s: s[0] + s[1] == size, 2))
    found.append(Property("ends before the end of the volume", lambda s: s[0] + s[1] < size, 3))
    found.append(Property("begins at offset 0", lambda s: s[0] == 0, 2))
    found.append(Property("begins behind offset 0", lambda s: s[0] > 0, 3))
    return found


def of_beginnings() -> list[Property]:
    """Return the properties of where a request begins."""
    return [one for unit in _UNITS for one in _of_unit(unit)[:2]]


def of_sizes(before: int) -> list[Property]:
    """Return the properties of the size that a resize makes; a shape is (size, 0).

    :param before: the size before it, in bytes.
    """
    found = [
        Property("is larger than the size before", lambda s: s[0] > before),
        Property("is smaller than the size before", lambda s: s[0] < before),
    ]
    for unit in _UNITS:
        found += _of_size(unit)
    return found


def _of_size(unit: int) -> list[Property]:
    return [
        Property(f"is a multiple of {unit:,}", lambda s: not s[0] % unit),
        Property(f"is no multiple of {unit:,}", lambda s: s[0] % unit > 0),
    ]


def sizes_around(size: int, unit: int) -> list[Shape]:
    """Return other sizes to try, as shapes, that are multiples of ``unit``."""
    base = size // 65536 * 65536
    away = (0, 512, 1024, 1536, 2048, 4096, 4608, 8192, 16384, 32768, 65536, 66048, 131072)
    found = {base + one for one in away} | {size + 512, size - 512, size + 4096, size - 4096}
    return [(one, 0) for one in sorted(found) if not one % unit and one > 0]


def _of_edge(edge: int, doubt: str, *, is_least: bool) -> Property:
    words = f"is at {'least' if is_least else 'most'} {edge:,} bytes long"
    text = f"{words} {doubt}" if doubt else words
    return Property(text, lambda s: s[1] >= edge if is_least else s[1] <= edge)


def _of_unit(unit: int) -> list[Property]:
    name = f"{unit:,}"

    def inside(shape: Shape) -> bool:
        return shape[0] // unit == (shape[0] + shape[1] - 1) // unit

    def whole(shape: Shape) -> bool:
        return -(-shape[0] // unit) * unit + unit <= shape[0] + shape[1]

    return [
        Property(f"begins at a multiple of {name}", lambda s: not s[0] % unit),
        Property(f"does not begin at a multiple of {name}", lambda s: s[0] % unit > 0),
        Property(f"ends at a multiple of {name}", lambda s: not sum(s) % unit),
        Property(f"does not end at a multiple of {name}", lambda s: sum(s) % unit > 0),
        Property(f"lies inside one unit of {name} bytes", inside, 2),
        Property(f"crosses a multiple of {name}", lambda s: not inside(s), 2),
        Property(f"covers a whole unit of {name} bytes", whole, 2),
        Property(f"covers no whole unit of {name} bytes", lambda s: not whole(s), 2),
        Property(f"has a length that is a multiple of {name}", lambda s: not s[1] % unit, 2),
        Property(f"has a length that is no multiple of {name}", lambda s: s[1] % unit > 0, 2),
        Property(
            f"begins or ends not at a multiple of {name}",
            lambda s: s[0] % unit > 0 or sum(s) % unit > 0,
            2,
        ),
    ]


def rules_that_fit(known: Mapping[Shape, bool], found: Sequence[Property]) -> list[Rule]:
    """Return the rules that no trial contradicts, those with the fewest properties first."""
    fails = [shape for shape, failed in known.items() if failed]
    right = [shape for shape, failed in known.items() if not failed]
    if not right:
        return [()]
    needed = [one for one in found if all(one.holds(shape) for shape in fails)]
    refuse = {id(one): frozenset(s for s in right if not one.holds(s)) for one in needed}
    needed = [one for one in needed if refuse[id(one)]]
    for count in range(1, _MOST_ATOMS + 1):
        fit = [
            rule
            for rule in combinations(needed, count)
            if len(frozenset().union(*(refuse[id(one)] for one in rule))) == len(right)
        ]
        if fit:
            return sorted(fit, key=lambda rule: sum(one.cost for one in rule))[:_LEFT]
    return []


def explain(
    known: Mapping[Shape, bool],
    found: Sequence[Property],
    pool: Sequence[Shape],
    fails: Callable[[Shape], bool | None],
    most: int,
) -> Explained:
    """Return the one rule that is left after further trials; they are in the samples, too.

    :param pool: shapes that can be tried. :param most: trials at most.
    """
    samples, pool = dict(known), [one for one in pool if one not in known]
    Seed(len(pool)).stream("shapes").shuffle(pool)
    after = 0
    for _ in range(most):
        rules = rules_that_fit(samples, found)
        if not rules:
            return Explained(None, samples)
        shape = _dividing(rules, pool)
        if shape is None:
            after += 1
            shape = _confirming(rules[0], pool, samples, after)
            if shape is None:
                return Explained(rules[0], samples)
        pool.remove(shape)
        failed = fails(shape)
        if failed is None:
            continue
        if failed != holds(rules[0], shape):
            after = 0
        samples[shape] = failed
    rules = rules_that_fit(samples, found)
    is_sure = bool(rules) and _dividing(rules, pool) is None and after > _ENOUGH
    return Explained(rules[0] if is_sure else None, samples)


def _dividing(rules: Sequence[Rule], pool: Sequence[Shape]) -> Shape | None:
    """Return the shape on which the rules disagree most evenly; None if they agree on all."""
    best, found = 0, None
    for shape in pool:
        count = sum(holds(rule, shape) for rule in rules)
        even = min(count, len(rules) - count)
        if even > best:
            best, found = even, shape
    return found


def _confirming(
    rule: Rule, pool: Sequence[Shape], samples: Mapping[Shape, bool], number: int
) -> Shape | None:
    """Return a shape to confirm a rule with, by its number from 1; None if it is confirmed.

    Some must fail by the rule: those that begin and end at large powers of two and at odd places,
    new ones, the longest and the shortest. For each property, three lack only it, and must be
    right.
    """
    begins, lengths = {begin for begin, _ in samples}, {length for _, length in samples}

    def newness(shape: Shape) -> int:
        return (shape[0] not in begins) + (shape[1] not in lengths)

    failing = [length for (_, length), failed in samples.items() if failed]

    def nearness(shape: Shape) -> int:
        return -min(abs(shape[1] - length) for length in failing) * 2 + (shape[0] not in begins)

    alike = [one for one in pool if holds(rule, one)]
    plan: list[tuple[list[Shape], Callable[[Shape], int]]] = [
        (alike, lambda shape: _alignment(shape[0])),
        (alike, lambda shape: _alignment(sum(shape))),
        (alike, newness),
        (alike, lambda shape: -_alignment(shape[0])),
        (alike, lambda shape: -_alignment(sum(shape))),
        (alike, lambda shape: shape[1]),
        (alike, lambda shape: -shape[1]),
        (alike, newness),
    ]
    for one in rule:
        rest = tuple(other for other in rule if other is not one)
        lacking = [s for s in pool if holds(rest, s) and not one.holds(s)]
        plan += [(lacking, nearness), (lacking, newness), (lacking, nearness)]
    plan = [(able, key) for able, key in plan if able]
    if number > len(plan):
        return None
    able, key = plan[number - 1]
    return max(able, key=key)


def _alignment(value: int) -> int:
    """Return the largest power of two that divides a value."""
    return value & -value if value else 1 << 62


def pool_of(shape: Shape, unit: int, low: int, high: int, longest: int) -> list[Shape]:
    """Return shapes around one that failed: other places, lengths and ends.

    :param unit: offsets and lengths are multiples of it. :param low: the first offset, as
        ``high`` the end, of where requests may be. :param longest: bytes of the longest.
    """
    offset, length = shape
    base = offset // 65536 * 65536
    begins = {offset, base, base + 65536, base + 512, base + 1024, base + 2048, base + 4096,
              base + 4096 + 512, base + 8192, base + 32768, base + 32768 + 1536, base + 131072,
              low, base + 777, offset + 512, offset + 4096}  # fmt: skip
    lengths = {length, length + 512, length - 512, length + 4096, length * 2, 512, 1024, 1536, 2048,
               4096, 4608, 5555, 8192, 12288, 32768, 65536, 66048, 70000, 131072, 1 << 18,
               (1 << 18) + 512, 1 << 19, (1 << 19) + 4096, 1 << 20, (1 << 20) + 512}  # fmt: skip
    far = range(low, high, 1 << 17) if high - low < 1 << 22 else (1 << 20, 1 << 21, 1 << 22)
    begins.update(far)
    ends = {base + 4096, base + 65536, base + 131072, base + 65536 - 512, base + 4096 + 300, high}
    found = {(begin, one) for begin in begins for one in lengths}
    found |= {(begin, end - begin) for begin in begins for end in ends}
    return sorted(
        (begin, one)
        for begin, one in found
        if not begin % unit
        and not one % unit
        and 0 < one <= longest
        and low <= begin
        and begin + one <= high
    )


def in_words(rule: Rule) -> str:
    """Return the properties of a rule as the rest of a sentence."""
    return " and ".join(one.text for one in rule)
