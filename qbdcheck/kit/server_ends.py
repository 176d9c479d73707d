"""The ways in which a target's server can end while it has clients, and start again."""

from __future__ import annotations

from qbdcheck.targets.disk import Disk


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

    :param seed: selects the data that a crash keeps.
    """
    if way == "crash":
        disk.backend.crash(seed=seed)
        return
    getattr(disk.backend, way)()
    disk.backend.start()
