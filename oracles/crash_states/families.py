"""The order in which the states of an epoch are tried: first those in which bugs are most likely.

The first families have about one state for each write, and find nearly everything that a missing
flush breaks: a cut at each point, one write lost before the cut, one write alone, one write torn.
In a short epoch all subsets follow; in a long one, pairs and then random states.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

from oracles.crash_states.epochs import Epoch


@dataclass(frozen=True)
class Bounds:
    """Limits for the number of states that are tried.

    :ivar subsets: all subsets are tried of epochs of up to this many writes, 0 to 20.
    :ivar reach: the largest distance (in writes) of a pair, or of a lost write from the cut.
    :ivar chance: the number of random states of each longer epoch.
    """

    subsets: int = 10
    reach: int = 16
    chance: int = 256


Family = Callable[[Epoch, Bounds, Random], Iterator[int]]


def _prefixes(epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:  # noqa: ARG001
    mask = 0
    yield mask
    for whole in epoch.wholes:
        mask |= whole
        yield mask


def _one_lost(epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:  # noqa: ARG001
    mask = 0
    for cut, whole in enumerate(epoch.wholes):
        mask |= whole
        for lost in range(max(0, cut - bounds.reach), cut):
            yield mask ^ epoch.wholes[lost]


def _one_alone(epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:  # noqa: ARG001
    yield from epoch.wholes


def _torn(epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:  # noqa: ARG001
    mask, everything = 0, epoch.everything()
    for whole, group in zip(epoch.wholes, epoch.groups, strict=True):
        for bit in _bits(group ^ whole):
            yield mask | bit
        mask |= whole
    for whole, group in zip(epoch.wholes, epoch.groups, strict=True):
        yield from _bits(group ^ whole)
    for whole, group in zip(epoch.wholes, epoch.groups, strict=True):
        for bit in _bits(group ^ whole):
            yield everything ^ whole | bit


def _subsets(epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:  # noqa: ARG001
    if len(epoch) > bounds.subsets:
        return
    mask = 0
    for number in range(1, 1 << len(epoch)):  # in the order of a Gray code
        mask ^= epoch.wholes[(number & -number).bit_length() - 1]
        yield mask


def _pairs(epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:  # noqa: ARG001
    if len(epoch) <= bounds.subsets:
        return
    wholes = epoch.wholes
    for rest in (0, epoch.everything()):  # only these two there, then only these two lost
        for second in range(1, len(wholes)):
            for first in range(max(0, second - bounds.reach), second):
                yield rest ^ (wholes[first] | wholes[second])


def _chance(epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:
    if len(epoch) <= bounds.subsets:
        return
    for _ in range(bounds.chance):
        cut = random.randrange(1, len(epoch) + 1)
        mask = 0
        lost = random.choice((0.1, 0.5, 0.9))
        for whole, group in zip(epoch.wholes[:cut], epoch.groups[:cut], strict=True):
            if random.random() < lost:
                if group != whole and random.random() < 0.1:
                    mask |= random.choice(list(_bits(group ^ whole)))
            else:
                mask |= whole
        yield mask


def _bits(mask: int) -> Iterator[int]:
    while mask:
        bit = mask & -mask
        mask ^= bit
        yield bit


FAMILIES: dict[str, Family] = {
    "cut at each write": _prefixes,
    "one write lost": _one_lost,
    "one write alone": _one_alone,
    "one write torn": _torn,
    "all subsets": _subsets,
    "pairs": _pairs,
    "by chance": _chance,
}
"""The families in the order in which they are tried."""


def masks(family: str, epoch: Epoch, bounds: Bounds, random: Random) -> Iterator[int]:
    """Yield the legal states of a family; several families may have the same state."""
    for mask in FAMILIES[family](epoch, bounds, random):
        if epoch.is_legal(mask):
            yield mask
