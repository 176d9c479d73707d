"""Ways in which a guest's power goes, and that of its disk."""

from __future__ import annotations

from qbdcheck.guest.guest import Guest
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession

_WAYS = {"kill": "", "quit": "", "crash": "crash", "backend": "kill"}
"""Ways, and the capability of the target that each needs."""


def ways_of(target: TargetSession) -> list[str]:
    """Return the ways that a target takes part in.

    ``kill``: SIGKILL of QEMU. ``quit``: QMP's quit, under load. ``crash``: SIGKILL of QEMU, and of
    what was not flushed any part is gone. ``backend``: SIGKILL of the backend, then of QEMU.
    """
    return [way for way, needs in _WAYS.items() if not needs or needs in target.capabilities]


def cut(way: str, guest: Guest, disk: Disk, seed: int) -> None:
    """Cut the power of a guest and its disk; the target runs afterwards.

    :param seed: decides what a crash leaves.
    """
    if way == "quit":
        guest.quit()
    elif way == "backend":
        disk.backend.kill()
        guest.kill()
        disk.backend.start()
    else:
        guest.kill()
        if way == "crash":
            disk.backend.crash(seed=seed)
