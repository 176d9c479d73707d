"""Themes: the dimensions that one case covers, and the combinations that it covers most deeply."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.kit.armed_rules import ArmedRules
from qbdcheck.kit.covering import classes, places
from qbdcheck.kit.covering.array import CoveringArray, pairs_of
from qbdcheck.kit.covering.classes import Offer, clash
from qbdcheck.kit.covering.events import CONTEXT, RESTS_ON, Events
from qbdcheck.kit.covering.walker import Walker
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.volume_limits import first_possible, size_unit
from qbdcheck.machine_speed import Limit
from qbdcheck.seed import Seed
from qbdcheck.targets.advertised_sizes import step_of
from qbdcheck.targets.description import Description
from qbdcheck.targets.session import TargetSession

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
_SURROUNDINGS: Mapping[str, Sequence[str]] = {
    "fua": classes.FUA,
    "shape": tuple(places.SHAPES),
    "relation": places.RELATIONS,
    "ground": classes.GROUND,
    "earlier": classes.EARLIER,
    "connection": classes.CONNECTION,
    "afterwards": classes.AFTERWARDS,
}


@dataclass(frozen=True)
class Theme:
    """What a case covers.

    :ivar dimensions: the classes of each dimension.
    :ivar triples: sets of three dimensions of which all combinations are to be covered.
    :ivar size: of the volume, in bytes, without its odd end.
    :ivar together: rows that share an event.
    :ivar window: bytes at the end of the volume in which the places are.
    :ivar tracking: a metadata context that the target needs.
    """

    dimensions: Mapping[str, Sequence[str]]
    triples: tuple[tuple[str, str, str], ...] = ()
    size: int = GIB
    together: int = 1
    window: int = 1 << 62
    tracking: str = ""


RELATED = Theme(
    {
        "command": classes.COMMAND,
        **_SURROUNDINGS,
        "afterwards": (*classes.AFTERWARDS, classes.STREAM),
        "depth": classes.DEPTH,
        "reader": classes.CONNECTION[:2],
        "course": (
            "earlier, main, then",
            "earlier, flush, main, then",
            "earlier, main, flush, then",
            "earlier, main, read, then",
            "earlier, reconnect, main, then",
        ),
    },
    (
        ("command", "relation", "earlier"),
        ("command", "shape", "earlier"),
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
        **_SURROUNDINGS,
        "contents": classes.CONTENTS,
        "depth": classes.DEPTH[:2],
        "course": ("earlier, main, then", "earlier, main, flush, then"),
    },
    (
        ("contents", "earlier", "afterwards"),
        ("contents", "shape", "afterwards"),
        ("contents", "shape", "earlier"),
    ),
)
CUTS = Theme(
    {
        "command": classes.CHANGES,
        **_SURROUNDINGS,
        "afterwards": (*classes.AFTERWARDS, classes.STREAM),
        "contents": classes.CONTENTS,
        "depth": classes.DEPTH,
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
            "earlier, main, flush, cut, cut",
            "earlier, main, break off, flush, cut",
            "earlier, main, flush beside, then, cut",
            "flush beside, earlier, main, flush, then, cut",
            "earlier, flush, main, zero all, flush, then, cut",
        ),
    },
    (
        ("command", "fua", "course"),
        ("command", "earlier", "course"),
        ("fua", "relation", "earlier"),
        ("contents", "fua", "course"),
    ),
    64 * MIB,
    12,
)
SNAPSHOTS = Theme(
    {
        "command": classes.CHANGES,
        **_SURROUNDINGS,
        "contents": classes.CONTENTS,
        "course": (
            "earlier, snapshot, main, then",
            "earlier, main, snapshot, then",
            "snapshot, earlier, main, then",
            "earlier, snapshot, main, snapshot, then",
            "snapshot, earlier, snapshot, main, then",
            "earlier, snapshot, snapshot, main, then",
            "earlier, snapshot, main, remove oldest, pause, then",
            "earlier, snapshot, main, then, remove newest, main",
            "earlier, snapshot, main, snapshot, then, remove oldest, main",
            "earlier, snapshot, remove newest, main, snapshot, then",
            "earlier, snapshot, snapshot beside, main, then",
            "earlier, snapshot, clone, main, then",
            "earlier, snapshot, clone, back, main, then",
            "earlier, snapshot, clone, snapshot, main, read, then, remove newest, main",
            "earlier, snapshot, clone, back, remove newest, main, then",
            "earlier, snapshot, clone, main, snapshot, clone, then",
            "earlier, snapshot, clone, main, snapshot, clone, main, then, back",
            "earlier, flush, snapshot, main, remove newest, flush, cut, then",
            "earlier, flush, snapshot, main, zero all, flush, cut, then",
            "earlier, snapshot, discard all, main, then, remove oldest, main",
            "earlier, snapshot, main, flush, then, cut",
            "earlier, snapshot, main, snapshot again, then",
            "earlier, snapshot, main, snapshot, then, remove two, main",
        ),
    },
    (
        ("command", "earlier", "course"),
        ("command", "shape", "course"),
        ("command", "afterwards", "course"),
    ),
    12 * MIB,
    10,
)
TRACKING = Theme(
    {
        "command": classes.CHANGES,
        **_SURROUNDINGS,
        "depth": classes.DEPTH,
        "course": (
            "earlier, snapshot, main, then",
            "snapshot, earlier, main, then",
            "earlier, snapshot, main, read, then",
            "earlier, snapshot, main, snapshot, then",
            "snapshot, earlier, snapshot, main, then",
            "earlier, snapshot, main, snapshot, read, main, then",
            "earlier, snapshot, main, flush beside, snapshot beside, then",
            "earlier, snapshot, main, clone, back, then",
            "earlier, snapshot, main, grow, then",
            "earlier, snapshot, main, discard all, then",
        ),
    },
    (("command", "shape", "course"), ("command", "earlier", "course")),
    12 * MIB,
    8,
    tracking="qbd:dirty",
)
RESIZES = Theme(
    {
        "command": classes.CHANGES,
        **_SURROUNDINGS,
        "shape": tuple(name for name in places.SHAPES if "object" not in name),
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
            "earlier, main, snapshot, shrink, then",
            "earlier, main, zero all, grow, main, then",
        ),
    },
    (("command", "shape", "course"), ("command", "earlier", "course")),
    2 * MIB,
    window=256 * KIB,
)
FAULTS = Theme(
    {
        "command": (*classes.CHANGES, "read", "cache"),
        **_SURROUNDINGS,
        "errno": classes.ERRNO,
        "reader": classes.CONNECTION[:2],
        "course": (
            "earlier, failing, then",
            "earlier, failing, main, then",
            "earlier, failing, reconnect, main, then",
            "earlier, main, failing, then, read, main",
            "earlier, main, failing flush, then",
            "earlier, failing, flush, then, cut",
            "earlier, failing, main, flush, then, cut",
            "earlier, main, failing, flush, then, cut",
            "earlier, main, failing flush, then, cut",
            "earlier, main, failing flush, flush, then, cut",
        ),
    },
    (
        ("command", "earlier", "course"),
        ("command", "shape", "course"),
        ("command", "errno", "course"),
    ),
    64 * MIB,
    6,
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
    (("command", "earlier", "course"), ("command", "shape", "course")),
    64 * MIB,
    24,
)


Connect = Callable[..., NbdIo]
"""Connects to a disk, as the fixture ``nbd_io``."""
_UNITS = (512, 4096, 65_536, 0)
"""What a volume has behind a multiple of 1 MiB, in bytes; a target may not make each size."""
_SHARED = 10
"""Rows that share a resize for which the server stops and starts."""
_NEEDED = {
    "cut": "sudden_end",
    "kill": "kill",
    "snapshot": "snapshot_read",
    "clone": "clone",
    "flush beside": "add_volume",
    "snapshot beside": "add_volume",
}
"""Capabilities of a target that words of a course need."""


def walk(  # the fixtures of a case
    theme: Theme,
    target: TargetSession,
    connect: Connect,
    seed: Seed,
    log: Callable[..., None],
    *,
    not_run: Callable[[str], None],
    rows: int | None = None,
    rules: ArmedRules | None = None,
    within_s: float = 45,
) -> None:
    """Carry out the covering array of a theme on a new volume; log what it covered.

    :param connect: connects to a disk (the fixture ``nbd_io``).
    :param not_run: gets the reason if the target is too slow for all rows (the fixture).
    :param rows: the most rows; by default as many as it needs.
    :param within_s: seconds after which no rows begin: a request, a resize or a restart may be
        slow. What is left of the limit of the case is for the last rows.
    :param rules: of any disk (the fixture ``rules``), for a theme with requests that fail.
    :raise CaseBroken: the theme has requests that fail, and none did.
    """
    step = step_of(target.description)
    whole = -(-theme.size // step) * step + step
    disk = first_possible(target, [*(theme.size + unit for unit in _UNITS), whole], log)
    faults = None if rules is None else rules.on(disk)
    if theme.tracking:
        connect = partial(connect, contexts=(CONTEXT, theme.tracking))
    # All connections to an export by a driver share one storage daemon.
    is_coherent = target.needs_export(disk) or "multi_conn" in target.capabilities
    with connect(disk, structured=True) as io:
        offer = Offer.of(io, is_coherent=is_coherent)
        minimum = io.block_sizes[0]
        if theme.tracking and theme.tracking not in io.client.contexts.values():
            raise NotRun(f"the target has no context {theme.tracking}")
    ends = {word for word in ("reconnect", "break off") if target.waived(RESTS_ON[word])}
    dimensions = _possible(theme, offer, target.capabilities, ends)
    beside = None
    if any("beside" in course for course in dimensions["course"]):
        beside = target.new_disk(disk.size, prefill=False, beside=disk)
    wanted = pairs_of(dimensions) + list(theme.triples)
    array = CoveringArray(dimensions, wanted, seed.stream("array"), clash)
    events = Events(disk, connect, seed.stream("events"), is_coherent=is_coherent)
    events.unit = minimum
    if "raw_size" not in target.capabilities and "resize" in target.capabilities:
        events.unit = max(minimum, size_unit(target))
    events.beside, events.tracking = beside, theme.tracking
    events.faults = faults
    walker = Walker(events, seed.stream("places"), log, theme.window)
    if not walker.play(array.rows(rows), _together(theme, target.description), Limit(within_s)):
        wanted_rows = "all" if rows is None else rows
        not_run(
            f"the target was done with {walker.rows_done} of {wanted_rows} rows in {within_s} s"
        )
    if faults is not None and not events.failed:
        raise CaseBroken("no rule of the covering array failed a request")
    log(coverage(array, walker.rows_done))


def _together(theme: Theme, description: Description) -> int:
    """Return how many rows share an event: a resize for which the server restarts is expensive."""
    resize = description.volume.resize
    words = {word for course in theme.dimensions["course"] for word in course.split(", ")}
    restarts = resize is not None and resize.restart and words & {"grow", "shrink"}
    return max(theme.together, _SHARED) if restarts else theme.together


def _possible(
    theme: Theme, offer: Offer, capabilities: Collection[str], without: Collection[str] = ()
) -> dict[str, list[str]]:
    """Return the dimensions of a theme with what the target can do.

    :param without: words of courses that are left out.
    :raise NotRun: it can do no course of events.
    """
    dimensions = offer.of_classes(theme.dimensions)
    dimensions["course"] = [
        course
        for course in dimensions["course"]
        if all(
            _NEEDED.get(word, "") in {"", *capabilities} and word not in without
            for word in course.split(", ")
        )
    ]
    if not dimensions["course"]:
        raise NotRun("the target can do no course of events of this case")
    return dimensions


def coverage(array: CoveringArray, rows: int) -> str:
    """Return what the rows of an array covered, as a sentence."""
    parts = [
        f"{array.covered(strength)} of {array.feasible(strength)} {name}"
        for strength, name in ((2, "pairs"), (3, "triples"))
    ]
    return f"{rows} rows cover {' and '.join(parts)} of classes of requests"
