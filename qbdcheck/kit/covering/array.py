"""Covering arrays: rows in which each possible pair, or triple, of values occurs.

The array is made greedily, row by row (AETG, Cohen et al., IEEE TSE 1997): a row begins with a
combination that is still uncovered, and each further dimension gets the value that covers most of
what is left. So the first rows cover most, and an array that is cut off is still a good one.

Packages exist (allpairspy, covertable). They do not make the best rows first, do not say what is
impossible, and do not depend on a seed in all they choose; that is what this module is for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from random import Random

import numpy as np
import numpy.typing as npt

_PAIR = 8
"""How many triples a pair is worth: rows that are cut off shall have most pairs."""
Row = dict[str, str]
"""A value for each dimension."""
Dimensions = Mapping[str, Sequence[str]]
Clash = Callable[[str, str, str, str], bool]
"""Says whether a dimension with a value and another one with a value cannot be together."""
_Flags = npt.NDArray[np.bool_]


def pairs_of(names: Iterable[str]) -> list[tuple[str, ...]]:
    """Return all pairs of dimensions: an array over them has strength 2."""
    return list(combinations(names, 2))


class CoveringArray:
    """Makes rows until each possible combination of the wanted sets of dimensions is covered.

    :param dimensions: the values of each dimension, by name.
    :param wanted: sets of two or three dimensions whose combinations must all occur.
    :param clash: what cannot be together; by default everything can.
    :raise ValueError: a dimension has no values.
    """

    def __init__(
        self,
        dimensions: Dimensions,
        wanted: Iterable[tuple[str, ...]],
        random: Random,
        clash: Clash | None = None,
    ) -> None:
        self._random = random
        self._names = list(dimensions)
        self._values = [list(values) for values in dimensions.values()]
        if not all(self._values):
            raise ValueError(f"a dimension without values: {dimensions}")
        self._allowed = self._compatible(clash)
        self._clashing = {
            place
            for place, others in enumerate(self._allowed)
            if not all(allowed.all() for allowed in others)
        }
        number = {name: place for place, name in enumerate(self._names)}
        self._left: dict[tuple[int, ...], _Flags] = {}
        for names in wanted:
            places = tuple(sorted(number[name] for name in names))
            self._left[places] = self._possible(places)
        self._sets_with = [
            [places for places in self._left if place in places]
            for place in range(len(self._names))
        ]
        self._feasible = {places: int(flags.sum()) for places, flags in self._left.items()}

    # What is covered -----------------------------------------------------------------------------

    def feasible(self, strength: int) -> int:
        """Return how many combinations of so many dimensions are wanted and possible."""
        return sum(count for places, count in self._feasible.items() if len(places) == strength)

    def covered(self, strength: int) -> int:
        """Return how many of them the rows made so far have."""
        left = sum(int(f.sum()) for places, f in self._left.items() if len(places) == strength)
        return self.feasible(strength) - left

    # Rows ----------------------------------------------------------------------------------------

    def rows(self, most: int | None = None) -> Iterator[Row]:
        """Yield rows, the best first, until all is covered or there are ``most``."""
        count = 0
        while most is None or count < most:
            row = self._next()
            if row is None:
                return
            count += 1
            self._cover(row)
            yield {name: self._values[place][row[place]] for place, name in enumerate(self._names)}

    def _next(self) -> dict[int, int] | None:
        """Return a row that covers something new, as numbers of values; None if nothing is left."""
        while True:
            start = self._uncovered()
            if start is None:
                return None
            row = self._completed(start)
            if row is not None:
                return row
            places = tuple(sorted(start))
            self._left[places][tuple(start[place] for place in places)] = False
            self._feasible[places] -= 1  # no complete row has it

    def _uncovered(self) -> dict[int, int] | None:
        """Return a random combination that is not covered: a pair, as long as there is one."""
        counts = {places: int(flags.sum()) for places, flags in self._left.items()}
        least = min((len(places) for places, count in counts.items() if count), default=0)
        counts = {places: count for places, count in counts.items() if len(places) == least}
        total = sum(counts.values())
        if not total:
            return None
        chosen = self._random.randrange(total)
        for places, count in counts.items():
            if chosen < count:
                flat = int(np.flatnonzero(self._left[places])[chosen])
                found = np.unravel_index(flat, self._left[places].shape)
                return dict(zip(places, map(int, found), strict=True))
            chosen -= count
        raise AssertionError("counts do not add up")

    def _completed(self, start: dict[int, int]) -> dict[int, int] | None:
        """Return a row with the values of ``start``; None if there is none."""
        order = [place for place in range(len(self._names)) if place not in start]
        self._random.shuffle(order)
        # What clashes with nothing cannot fail: behind the rest, it is not tried again and again.
        order.sort(key=lambda place: place not in self._clashing)
        return self._fill(dict(start), order)

    def _fill(self, row: dict[int, int], order: list[int]) -> dict[int, int] | None:
        if not order:
            return row
        place, rest = order[0], order[1:]
        can = self._can_be(place, row)
        gains = self._gains(place, row)
        values = [int(value) for value in np.flatnonzero(can)]
        self._random.shuffle(values)  # the sort is stable: equal gains stay shuffled
        for value in sorted(values, key=lambda value: -gains[value]):
            found = self._fill({**row, place: value}, rest)
            if found is not None:
                return found
        return None

    def _can_be(self, place: int, row: dict[int, int]) -> _Flags:
        """Return which values of a dimension clash with nothing in a row."""
        can = np.ones(len(self._values[place]), dtype=bool)
        for other, value in row.items():
            can &= self._allowed[place][other][:, value]
        return can

    def _gains(self, place: int, row: dict[int, int]) -> npt.NDArray[np.int64]:
        """Return how many uncovered combinations each value of a dimension adds to a row."""
        gains = np.zeros(len(self._values[place]), dtype=np.int64)
        for places in self._sets_with[place]:
            if all(one == place or one in row for one in places):
                chosen = tuple(slice(None) if one == place else row[one] for one in places)
                gains += self._left[places][chosen] * (_PAIR if len(places) == 2 else 1)
        return gains

    def _cover(self, row: dict[int, int]) -> None:
        for places, flags in self._left.items():
            flags[tuple(row[place] for place in places)] = False

    # What is possible ----------------------------------------------------------------------------

    def _compatible(self, clash: Clash | None) -> list[list[_Flags]]:
        """Return for two dimensions which of their values can be together."""
        names, values = self._names, self._values
        allowed = [
            [np.ones((len(ones), len(others)), dtype=bool) for others in values] for ones in values
        ]
        if clash is None:
            return allowed
        for (low, one), (high, other) in combinations(enumerate(names), 2):
            for i, value in enumerate(values[low]):
                for j, beside in enumerate(values[high]):
                    if clash(one, value, other, beside) or clash(other, beside, one, value):
                        allowed[low][high][i, j] = allowed[high][low][j, i] = False
        return allowed

    def _possible(self, places: tuple[int, ...]) -> _Flags:
        """Return which combinations of some dimensions have no two values that clash."""
        possible = np.ones([len(self._values[place]) for place in places], dtype=bool)
        for (i, low), (j, high) in combinations(enumerate(places), 2):
            shape = [1] * len(places)
            shape[i], shape[j] = possible.shape[i], possible.shape[j]
            possible &= self._allowed[low][high].reshape(shape)
        return possible
