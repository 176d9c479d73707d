"""All short sequences of requests to an image, as in ACE, and the crash states of each.

ACE (of CrashMonkey, OSDI '18) found most crash bugs of file systems with sequences of one to three
operations and a persistence point at the end, on a small set of files. Here the operations are
requests of a guest's disk, and the files are two places in its image, written before or not.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from oracles.crash_states.families import Bounds
from qbdcheck.kit.crash.explorer import Exploration, Judge, Wrong
from qbdcheck.kit.crash.logged_image import LoggedImage

CLUSTER = 4096
OLD, NEW = 2 * CLUSTER, 20 * CLUSTER
"""Two places: one with allocated clusters, one without."""
OPERATIONS: dict[str, Callable[[LoggedImage], None]] = {
    "write old": lambda image: image.write(OLD, 2 * CLUSTER),
    "write new": lambda image: image.write(NEW, 2 * CLUSTER),
    "write part of old": lambda image: image.write(OLD + 1000, 1500),
    "write across new": lambda image: image.write(NEW + CLUSTER - 700, 1500),
    "zero old": lambda image: image.zero(OLD, CLUSTER),
    "unmap old": lambda image: image.zero(OLD + CLUSTER, CLUSTER, unmap=True),
    "discard old": lambda image: image.discard(OLD, 2 * CLUSTER),
    "flush": lambda image: image.flush(),
}
_FREES = ("unmap old", "discard old")
_ALLOCATES = ("write old", "write new", "write part of old", "write across new")


def sequences(length: int) -> Iterator[tuple[str, ...]]:
    """Yield all sequences of 1 to ``length`` operations that end in a persistence point.

    Two flushes in a row do not occur. Sequences that free and then allocate with no flush between
    belong to case 437 (docs/findings.md#qcow2-reuse-before-flush).
    """
    for count in range(1, length + 1):
        for names in itertools.product(OPERATIONS, repeat=count):
            sequence = (*names, "flush")
            pairs = list(itertools.pairwise(sequence))
            if ("flush", "flush") not in pairs and not _reuses(sequence):
                yield sequence


def _reuses(sequence: tuple[str, ...]) -> bool:
    freed = False
    for name in sequence:
        if freed and name in _ALLOCATES:
            return True
        freed = name != "flush" and (freed or name in _FREES)
    return False


@dataclass
class Bounded:
    """The result of all sequences."""

    sequences: int = 0
    states: int = 0
    explored: int = 0
    wrong: tuple[tuple[str, ...], Wrong] | None = None

    def __str__(self) -> str:
        return (
            f"{self.sequences} sequences, {self.states} crash states,"
            f" {self.explored} different ones judged"
        )


def run_sequences(
    length: int,
    make_image: Callable[[int], LoggedImage],
    make_judge: Callable[[LoggedImage], Callable[[Path], Judge]],
    seed: int,
) -> Bounded:
    """Run and explore each sequence on its own image; stop at the first wrong state.

    :param make_image: returns the image of the N-th sequence, from 0.
    """
    result = Bounded()
    for number, sequence in enumerate(sequences(length)):
        logged = make_image(number)
        with logged.opened():
            logged.write(OLD, 3 * CLUSTER)
            logged.flush()
            for name in sequence:
                OPERATIONS[name](logged)
        one: Exploration = logged.explore(
            make_judge(logged), seed, jobs=1, most=1, bounds=Bounds(subsets=8, chance=0)
        )
        result.sequences += 1
        result.states += one.total
        result.explored += one.explored
        if one.wrong:
            result.wrong = sequence, one.wrong[0]
            break
    return result
