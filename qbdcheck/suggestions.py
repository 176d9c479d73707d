"""The known word that a mistyped word was meant to be. Standard library only."""

from __future__ import annotations

import re
from collections.abc import Iterable

_LEAST = 3
"""A shorter word is too like every other short word."""


def distance(one: str, other: str) -> int:
    """Return how many letters must be added, removed, changed or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(other) + 1))
    for at, letter in enumerate(one, 1):
        older, before, row = before, row, [at]
        for to, wanted in enumerate(other, 1):
            cost = min(before[to] + 1, row[-1] + 1, before[to - 1] + (letter != wanted))
            if at > 1 and to > 1 and (one[at - 2], letter) == (wanted, other[to - 2]):
                cost = min(cost, older[to - 2] + 1)
            row.append(cost)
    return row[-1]


def suggestions(word: str, known: Iterable[str], most: int = 1) -> list[str]:
    """Return at most `most` words of `known` that `word` may mean, the nearest first.

    A word is near if a third of the letters is wrong at most. If none is near, those words count
    whose parts (between dashes and the like) begin with all parts of `word`, such as
    ``discard-zero`` for ``discard-old-or-zero``. Dashes at the beginning and capitals do not count.
    """
    meant = _plain(word)
    if len(meant) < _LEAST:
        return []
    far = {name: distance(meant, _plain(name)) for name in known}
    near = [name for name in far if far[name] <= len(meant) // 3]
    if not near:
        near = [name for name in far if _has_parts(_plain(name), meant)]
    return sorted(near, key=lambda name: (far[name], name))[:most]


def suggestion(word: str, known: Iterable[str]) -> str:
    """Return the word of `known` that `word` may mean; "" if there is none."""
    return next(iter(suggestions(word, known)), "")


def _plain(word: str) -> str:
    return word.lstrip("-").lower()


def _has_parts(name: str, meant: str) -> bool:
    parts = _parts(name)
    return all(any(part.startswith(wanted) for part in parts) for wanted in _parts(meant))


def _parts(word: str) -> list[str]:
    return [part for part in re.split(r"[-_.:]", word) if part]
