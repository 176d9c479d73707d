"""Three equal volumes behind QEMU's driver quorum, which two of them decide."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

from qbdcheck.kit.blockdev import node
from qbdcheck.programs.storage_daemon import StorageDaemon
from qbdcheck.targets.disk import Disk

CHILDREN = ("child0", "child1", "child2")


def equal_disks(new_disk: Callable[..., Disk]) -> list[Disk]:
    """Return three disks of 1 MiB with the same contents; each has a shadow of its own."""
    disks = [new_disk("1M", prefill=False) for _ in CHILDREN]
    shadow = disks[0].shadow
    for disk in disks:
        disk.shadow = shadow
        disk.prefill()
    for disk in disks:
        disk.shadow = deepcopy(shadow)
    return disks


def export_quorum(daemon: StorageDaemon, disks: Sequence[Disk], **options: Any) -> str:
    """Export a quorum of the disks, as nodes `CHILDREN`; return its URI.

    :param options: further options of the driver (QAPI, BlockdevOptionsQuorum).
    """
    for name, disk in zip(CHILDREN, disks, strict=True):
        daemon.add(disk.protocol_blockdev(name))
    daemon.add(node("quorum", "all", children=list(CHILDREN), vote_threshold=2, **options))
    return daemon.export("all")
