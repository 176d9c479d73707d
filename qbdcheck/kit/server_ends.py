"""The ways in which a target's server can end while it has clients, and start again."""

from __future__ import annotations

from collections.abc import Iterator

from qbdcheck.machine_speed import Limit
from qbdcheck.targets.disk import Disk

_CUTS_S = 20.0
"""Seconds after which a case begins no further round: a cluster may take ten to start again."""


def ways_of(disk: Disk) -> list[str]:
    """Return the ways to end the server of a disk after which it keeps its data.

    ``stop``: its normal end. ``kill``: SIGKILL. ``crash``: a power cut. A target that supports
    none of them gives an empty list.
    """
    known = disk.backend.description
    ways = {"stop": not known.volatile, "kill": known.kill, "crash": known.crash}
    return [way for way, can in ways.items() if can]


def end(disk: Disk, way: str, seed: int) -> None:
    """End the server of a disk in one of `ways_of`, and start it again.

    After ``stop`` and ``kill`` clients are without a server for a moment; after ``crash`` data that
    was not flushed may be gone, as the shadow then permits.

    :param way: one of `ways_of`, or ``cut`` (the function).
    :param seed: selects the data that a crash keeps.
    """
    if way == "cut":
        cut(disk, seed)
        return
    if way == "crash":
        disk.backend.crash(seed=seed)
        return
    getattr(disk.backend, way)()
    disk.backend.start()


def cut(disk: Disk, seed: int = 0) -> None:
    """Cut the power of a disk's server. A target that cannot do that is killed and started again.

    Either way, what was flushed must be there afterwards, and the rest is old or new.

    :param seed: selects the data that a power cut keeps.
    :raise NotRun: the target can do neither (capability ``sudden_end``).
    """
    known = disk.backend.description
    if known.crash is not None and "crash" not in known.lacks:
        disk.backend.crash(seed=seed)
        return
    disk.backend.kill()
    disk.backend.start()


def rounds(most: int, least: int = 3) -> Iterator[int]:
    """Count the rounds of a case that end with a `cut`: from 0, at most `most`.

    There are fewer, but `least` at least, if the server takes so long to start that the case would
    exceed its time limit.
    """
    limit = Limit(_CUTS_S)
    for number in range(most):
        if number >= least and limit.is_over:
            return
        yield number
