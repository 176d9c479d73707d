"""Ways to cut the power of a guest and of its disk."""

from __future__ import annotations

from qbdcheck.guest.guest import Guest
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession

_WAYS = {"kill": "", "quit": "", "crash": "crash", "backend": "kill"}
"""Each way, and the capability of the target that it needs."""


def ways_of(target: TargetSession) -> list[str]:
    """Return the ways that a target supports.

    ``kill``: SIGKILL of QEMU. ``quit``: quit by QMP, under load. ``crash``: SIGKILL of QEMU, and
    any part of the unflushed data is lost. ``backend``: SIGKILL of the backend, then of QEMU.
    """
    return [way for way, needs in _WAYS.items() if not needs or needs in target.capabilities]


def cut(way: str, guest: Guest, disk: Disk, seed: int) -> None:
    """Cut the power of a guest and its disk; the target runs afterwards.

    :param seed: selects the data that a crash leaves.
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
