"""Disks that may share data: a volume with its snapshots, its clones, and theirs."""

from __future__ import annotations

from collections.abc import Callable

from oracles.history import History


class Family:
    """What happens to one snapshot or clone is part of the life of all disks of its family."""

    def __init__(self) -> None:
        self._members: list[Callable[[], History]] = []

    def join(self, history: Callable[[], History]) -> None:
        """Add a disk. :param history: returns its history, which may be replaced meanwhile."""
        self._members.append(history)

    def histories(self) -> list[History]:
        """Return the histories of all disks that belong to it."""
        return [history() for history in self._members]

    def note(self, what: str) -> None:
        """Record that a snapshot or a clone was made or removed: ``snapshot s1 was removed``."""
        for history in self._members:
            history().note("snapshot", text=what)
