"""How a round of a mixed workload is done: which commands, how large, how deep, on which places.

Each round draws its own style. So some have two clients and parts of one block, and others forty
requests in flight over many objects ("swarm testing", Groce et al., ISSTA 2012).
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from blockio.layers import Command

_PAGE, _UNIT, _OBJECT = 4096, 65_536, 1 << 20
_UNITS = (_PAGE, _PAGE, _PAGE, _UNIT, _UNIT, _UNIT, _OBJECT)
"""What servers divide volumes into, in bytes: pages, clusters, objects."""
_TIMES = (2, 4, 16)
"""How many units the hot places are."""
GROUNDS = ("as it is", "zeroed", "discarded", "written", "in turns", "in turns")
"""What is done to the hot places before a round; ``in turns``: every second step of them is written
and the others are discarded or zeroed, so that first writes and freed data are neighbours."""


@dataclass(frozen=True)
class Style:
    """One round.

    :ivar commands: to draw from, each as often as it is to be sent.
    :ivar lengths: in bytes, to draw from: whole units, parts of units, or any.
    :ivar low: first byte of the hot places. :ivar span: their bytes.
    :ivar step: bytes of a unit, and between places that are related, but apart.
    :ivar depth: most requests in flight.
    :ivar count: requests of the round.
    :ivar newest_first: share of replies for which the client waits although older ones are due.
    :ivar patience: share of requests after which the client waits for a reply.
    :ivar contents: ``stamps``, ``pool`` (a few blocks many times) or ``zeroes``.
    :ivar fua: share of FUA among the changes.
    :ivar ground: one of `GROUNDS`.
    """

    commands: tuple[Command, ...]
    lengths: tuple[int, ...]
    low: int
    span: int
    step: int
    depth: int
    count: int
    newest_first: float
    patience: float
    contents: str
    fua: float
    ground: str


def drawn(random: Random, size: int, offered: dict[Command, bool], hot: int | None) -> Style:
    """Draw a style for a volume.

    :param size: of the volume, in bytes.
    :param offered: which commands the export has.
    :param hot: a byte that is to be among the hot places, such as the old end of a volume that has
        grown; None for any.
    """
    unit = random.choice(_UNITS)
    span = min(random.choice(_TIMES) * unit, size)
    if hot is None:
        low = random.randrange(0, max(1, size - span + 1), _PAGE)
        if random.random() < 0.8:
            low -= low % unit
        if random.random() < 0.1:
            low = size - span
    else:
        low = max(0, min(hot - span // 2, size - span))
    weights = {
        Command.WRITE: random.choice((2, 6, 6)),
        Command.READ: random.choice((0, 2, 4)),
        Command.WRITE_ZEROES: random.choice((0, 0, 1, 3)),
        Command.TRIM: random.choice((0, 0, 1, 3)),
        Command.FLUSH: random.choice((0, 1, 3)),
        Command.CACHE: random.choice((0, 0, 0, 1)),
    }
    commands = [one for one, weight in weights.items() if offered[one] for _ in range(weight)]
    return Style(
        tuple(commands),
        _lengths(random, unit),
        low,
        span,
        unit,
        random.choice((2, 2, 3, 4, 8, 24)),
        random.choice((6, 12, 30) if unit < _OBJECT else (4, 8)),
        random.choice((0.2, 0.5, 0.8)),
        random.choice((0, 0.2, 0.5)),
        random.choice(("stamps", "stamps", "pool", "zeroes")),
        random.choice((0, 0, 0.1, 0.4)),
        random.choice(GROUNDS),
    )


def _lengths(random: Random, unit: int) -> tuple[int, ...]:
    """Draw the lengths of the requests of a round, all in relation to one unit."""
    whole = (unit,)
    parts = (512, 512, 1024, unit // 4, unit // 2)
    mixed = (unit, unit, unit // 2, 512, unit + 512, 2 * unit)
    any_ = (100, 1000, 5000, unit - 1, unit + 1, min(5 * unit + 512, 5 * _OBJECT))
    return random.choice((whole, parts, mixed, any_))
