"""All short sequences of operations on two blocks, each followed by a crash or a new connection.

Deterministic bugs are found by all sequences of up to three operations (OSDI '18, B3): here on two
blocks of 4096 bytes, aligned and not, then a power cut, a kill, a reopening or a lost connection.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from oracles.model import Player, Wrong
from oracles.scripts import Script, Step
from qbdcheck.kit.model.replay import play

BLOCK = 4096
SIZE = 4 * BLOCK
PLACES = ((0, BLOCK), (BLOCK, BLOCK), (700, 2000), (BLOCK - 500, 1000))
"""Two blocks, a part of one, and an unaligned range across both."""
ENDS = (Step("power-cut", seed=1), Step("power-cut", seed=2), Step("kill"), Step("reopen"),
        Step("reconnect"))  # fmt: skip


@dataclass
class Tried:
    """The number of sequences tried, and the first failing script."""

    sequences: int = 0
    scripts: int = 0
    left_out: tuple[str, ...] = ()
    wrong: tuple[Script, Wrong] | None = None

    def __str__(self) -> str:
        without = f", without {', '.join(self.left_out)}" if self.left_out else ""
        return f"{self.sequences} sequences, {self.scripts} scripts{without}"


def operations(abilities: frozenset[str], alignment: int = 1) -> list[Step]:
    """Return the operations that are combined: all kinds at all places, and a flush.

    :param alignment: only places that are multiples of it, in bytes.
    """
    places = [place for place in PLACES if not any(value % alignment for value in place)]
    found = [Step("write", *place) for place in places]
    if "fua" in abilities:
        found.append(Step("write", *PLACES[0], fua=True))
    if "zero" in abilities:
        found += [Step("zero", *place) for place in places]
    if "discard" in abilities:
        found += [Step("discard", *place) for place in places[:3]]
    return [*found, Step("flush")] if "flush" in abilities else found


def scripts(abilities: frozenset[str], depth: int, alignment: int = 1) -> Iterator[Script]:
    """Yield all scripts of 1 to ``depth`` operations, without two flushes in a row."""
    steps = operations(abilities, alignment)
    flush = Step("flush")
    ends = [end for end in ENDS if end.do in abilities]
    for count in range(1, depth + 1):
        for sequence in itertools.product(steps, repeat=count):
            if not any(one == flush == other for one, other in itertools.pairwise(sequence)):
                for end in ends:
                    yield Script(SIZE, (*sequence, end))


def try_all(player: Player, depth: int, seed: int) -> Tried:
    """Play all scripts; stop at the first that fails."""
    missing = {"flush", "fua", "zero", "discard", *(end.do for end in ENDS)} - player.abilities
    tried = Tried(left_out=tuple(sorted(missing)))
    last: tuple[Step, ...] = ()
    for script in scripts(player.abilities, depth, getattr(player, "alignment", 1)):
        tried.scripts += 1
        tried.sequences += script.steps[:-1] != last
        last = script.steps[:-1]
        try:
            play(script, player, seed)
        except Wrong as wrong:
            tried.wrong = script, wrong.within("")
            break
    return tried
