"""Targets that QEMU reaches by a driver of their own, such as qbd or rbd."""

from __future__ import annotations

from qbdcheck.errors import NotRun
from qbdcheck.targets.disk import Disk

_SHARED = frozenset(("nbd", "file", "host_device"))
"""Drivers of QEMU that serve many backends. Their own cases are elsewhere."""


def own_driver(disk: Disk) -> str:
    """Return the name of the target's own driver.

    :raise NotRun: QEMU reaches the target by its driver for NBD or files.
    """
    driver = str(disk.protocol_blockdev()["driver"])
    if driver in _SHARED:
        raise NotRun(f"target {disk.backend.description.name} has no QEMU driver of its own")
    return driver


def plain_filename(disk: Disk) -> str:
    """Return the file name of the volume for QEMU's programs, such as ``qbd:pool/volume``.

    :raise NotRun: the profile has none.
    """
    name = disk.backend.filename
    if name is None:
        raise NotRun(f"target {disk.backend.description.name} has no file name")
    return name
