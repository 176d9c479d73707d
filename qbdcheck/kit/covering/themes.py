"""Themes: the dimensions that one case covers, and the combinations that it covers most deeply."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from qbdcheck.kit.covering import classes, places
from qbdcheck.kit.covering.array import CoveringArray, pairs_of, triples_of
from qbdcheck.kit.covering.classes import Offer, clash
from qbdcheck.kit.covering.events import Events
from qbdcheck.kit.covering.walker import Walker
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.volume_limits import size_unit
from qbdcheck.seed import Seed
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession

MIB, GIB = 1 << 20, 1 << 30


@dataclass(frozen=True)
class Theme:
    """What a case covers.

    :ivar dimensions: the classes of each dimension.
    :ivar triples: sets of three dimensions of which all combinations are to be covered.
    :ivar size: of the volume, in bytes, without its odd end.
    :ivar together: rows that share an event.
    """

    dimensions: Mapping[str, Sequence[str]]
    triples: tuple[tuple[str, str, str], ...] = ()
    size: int = GIB
    together: int = 1


RELATED = Theme(
    {
        "command": classes.COMMAND,
        "fua": classes.FUA,
        "size": places.SMALL,
        "offset": ("start", "odd", "at 64K", "before 64K", "across 64K", "at 1M", "ends at 1M"),
        "relation": places.RELATIONS,
        "ground": classes.GROUND,
        "earlier": classes.EARLIER,
        "connection": classes.CONNECTION,
        "depth": classes.DEPTH,
        "afterwards": classes.AFTERWARDS,
        "reader": classes.CONNECTION[:2],
        "course": (
            "earlier, main, then",
            "earlier, flush, main, then",
            "earlier, main, flush, then",
            "earlier, read, main, then",
            "earlier, reconnect, main, then",
        ),
    },
    (
        ("command", "relation", "earlier"),
        ("command", "earlier", "afterwards"),
        ("command", "ground", "earlier"),
    ),
)
SIZES = Theme(
    {
        "command": ("write", "zero", "zero FAST_ZERO", "discard"),
        "fua": classes.FUA,
        "size": tuple(places.SIZES),
        "offset": places.OFFSETS,
        "ground": ("data", "never written"),
        "connection": classes.CONNECTION,
        "reader": classes.CONNECTION[:2],
        "course": ("earlier, main", "earlier, main, flush"),
    },
    (("command", "size", "offset"),),
    8 * GIB,
)
CONTENTS = Theme(
    {
        "command": ("write", "zero", "discard"),
        "fua": classes.FUA,
        "size": ("part of a sector", "512", "4K", "4K+512", "8K-32K", "64K", "odd over 64K"),
        "offset": ("at 4K", "behind 4K", "at 64K", "across 64K", "odd"),
        "relation": places.RELATIONS,
        "ground": classes.GROUND,
        "earlier": classes.EARLIER,
        "contents": classes.CONTENTS,
        "connection": classes.CONNECTION,
        "depth": classes.DEPTH[:2],
        "afterwards": classes.AFTERWARDS,
        "course": ("earlier, main, then", "earlier, main, flush, then"),
    },
    (("contents", "earlier", "afterwards"), ("contents", "size", "afterwards")),
)
CUTS = Theme(
    {
        "command": classes.CHANGES,
        "fua": classes.FUA,
        "size": places.SMALL,
        "offset": places.NEAR,
        "relation": places.RELATIONS,
        "ground": classes.GROUND,
        "earlier": classes.EARLIER,
        "contents": classes.CONTENTS,
        "connection": classes.CONNECTION,
        "depth": classes.DEPTH,
        "afterwards": classes.AFTERWARDS,
        "course": (
            "earlier, main, then, cut",
            "earlier, main, flush, then, cut",
            "earlier, flush, main, then, cut",
            "earlier, main, then, flush, cut",
            "earlier, main, then, other flush, cut",
            "earlier, cut, main, then, flush, cut",
            "earlier, flush, cut, main, then, cut",
            "earlier, main, reconnect, flush, then, cut",
            "earlier, main, flush, cut, then, cut",
            "earlier, main, flush beside, then, cut",
            "flush beside, earlier, main, flush, then, cut",
        ),
    },
    (("command", "fua", "course"), ("command", "earlier", "course")),
    64 * MIB,
    12,
)
SNAPSHOTS = Theme(
    {
        "command": classes.CHANGES,
        "size": places.SMALL,
        "offset": places.NEAR,
        "relation": places.RELATIONS,
        "ground": classes.GROUND,
        "earlier": classes.EARLIER,
        "contents": classes.CONTENTS,
        "connection": classes.CONNECTION,
        "afterwards": classes.AFTERWARDS,
        "course": (
            "earlier, snapshot, main, then",
            "earlier, main, snapshot, then",
            "snapshot, earlier, main, then",
            "earlier, snapshot, main, snapshot, then",
            "snapshot, earlier, snapshot, main, then",
            "earlier, snapshot, snapshot, main, then",
            "earlier, snapshot, main, then, remove oldest",
            "earlier, snapshot, main, then, remove newest, main",
            "earlier, snapshot, main, snapshot, then, remove oldest, main",
            "earlier, snapshot, remove newest, main, snapshot, then",
            "earlier, snapshot, clone, main, then",
            "earlier, snapshot, clone, back, main, then",
            "earlier, snapshot, clone, back, remove newest, main, then",
            "earlier, snapshot, clone, main, snapshot, clone, then",
            "earlier, snapshot, clone, main, snapshot, clone, main, then, back",
            "earlier, flush, snapshot, main, remove newest, flush, cut, then",
            "earlier, snapshot, main, flush, then, cut",
        ),
    },
    (("command", "earlier", "course"), ("command", "afterwards", "course")),
    64 * MIB,
    12,
)
RESIZES = Theme(
    {
        "command": classes.CHANGES,
        "fua": classes.FUA,
        "size": places.SMALL,
        "offset": ("end", "ends at 4K", "ends at 64K", "across 64K", "high"),
        "relation": places.RELATIONS,
        "ground": classes.GROUND,
        "earlier": classes.EARLIER,
        "afterwards": classes.AFTERWARDS,
        "course": (
            "earlier, main, grow, then",
            "earlier, grow, main, then",
            "earlier, main, shrink, grow, then",
            "earlier, shrink, main, grow, then",
            "earlier, main, flush, shrink, then, grow",
            "earlier, shrink, grow, main, then",
            "earlier, grow, main, flush, then, cut",
            "earlier, main, flush, grow, then, cut",
            "earlier, snapshot, clone, main, shrink, grow, then",
            "earlier, snapshot, shrink, grow, main, then",
        ),
    },
    (("command", "earlier", "course"),),
    2 * MIB,
)
RESTARTS = Theme(
    {
        **CUTS.dimensions,
        "course": (
            "earlier, main, then, kill",
            "earlier, main, flush, then, kill",
            "earlier, flush, kill, main, then, kill",
            "earlier, main, then, other flush, kill, main",
            "earlier, main, then, stop",
            "earlier, stop, main, then, kill",
        ),
    },
    (("command", "earlier", "course"),),
    64 * MIB,
    24,
)


_NEEDED = {"cut": "crash", "kill": "kill", "clone": "clone", "flush beside": "add_volume"}
"""Capabilities of a target that words of a course need."""


def walk(  # the fixtures of a case
    theme: Theme,
    target: TargetSession,
    connect: Callable[..., NbdIo],
    seed: Seed,
    log: Callable[..., None],
    *,
    rows: int | None = None,
    full: bool = False,
) -> None:
    """Carry out the covering array of a theme on a new volume; log what it covered.

    :param connect: connects to a disk (the fixture ``nbd_io``).
    :param rows: the most rows; by default as many as it needs.
    :param full: cover all triples of dimensions, not only those of the theme.
    """
    disk = _volume(target, theme.size)
    is_coherent = "multi_conn" in target.capabilities
    with connect(disk, structured=True) as io:
        offer = Offer.of(io, is_coherent=is_coherent)
    dimensions = offer.of_classes(theme.dimensions)
    dimensions["course"] = [
        course
        for course in dimensions["course"]
        if all(_NEEDED.get(word, "") in {"", *target.capabilities} for word in course.split(", "))
    ]
    beside = None
    if any("beside" in course for course in dimensions["course"]):
        beside = target.new_disk(disk.size, prefill=False, beside=disk)
    wanted = pairs_of(dimensions)
    wanted += triples_of(dimensions) if full else list(theme.triples)
    array = CoveringArray(dimensions, wanted, seed.stream("array"), clash)
    chance = seed.stream("events")
    events = Events(disk, connect, chance, is_coherent=is_coherent, beside=beside)
    walker = Walker(events, seed.stream("places"))
    walker.play(array.rows(rows), theme.together)
    log(coverage(array, len(walker.done)))


def _volume(target: TargetSession, size: int) -> Disk:
    """Return an empty volume that ends behind a multiple of 4 KiB, if the target can make it."""
    unit = max(size_unit(target), 512)
    return target.new_disk(size // unit * unit + unit, prefill=False)


def coverage(array: CoveringArray, rows: int) -> str:
    """Return what the rows of an array covered, as a sentence."""
    parts = [
        f"{array.covered(strength)} of {array.feasible(strength)} {name}"
        for strength, name in ((2, "pairs"), (3, "triples"))
    ]
    return f"{rows} rows cover {' and '.join(parts)} of classes of requests"
