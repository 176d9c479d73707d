"""A volume of the qbd driver (contrib/qbd-driver) as libvirt can have it: under the name rbd."""

from __future__ import annotations

from pathlib import Path

from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.kit.libvirt.daemon import QBD_EMULATOR, LibvirtDaemon
from qbdcheck.programs.blockdev import Blockdev
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.placeholders import fill


def volume_of_qbd(daemon: LibvirtDaemon, disk: Disk, scratch: Path) -> tuple[Blockdev, Path]:
    """Return the options by which the driver reaches a disk's server, and the QEMU that has it.

    The driver gets a configuration file with the sockets of the server.

    :raise NotRun: the driver is not built, or the server of this target is not the reference
        backend.
    """
    if not QBD_EMULATOR.exists():
        place = QBD_EMULATOR.parent
        raise NotRun(f"the programs in {place} are not built; run: make -C contrib/qbd-driver")
    blockdev = disk.protocol_blockdev()
    if blockdev["driver"] == "qbd":
        return blockdev, daemon.emulator
    server, control = blockdev.get("server", {}), disk.backend.description.control
    if blockdev["driver"] != "nbd" or server.get("type") != "unix" or control is None:
        raise NotRun("the server of this target does not serve the qbd driver")
    pool, slash, image = str(blockdev["export"]).partition("/")
    if not slash:
        raise CaseBroken(f"the volume {pool} has no pool: use new_disk(name='pool/vol')")
    configuration = scratch / "qbd.conf"
    lines = ("[qbd]", f"socket = {server['path']}",
             f"control = {fill(control, disk.backend.values())}")  # fmt: skip
    configuration.write_text("\n".join((*lines, "")), encoding="utf-8")
    options = {"driver": "qbd", "pool": pool, "image": image, "conf": str(configuration)}
    return options, daemon.with_qbd(QBD_EMULATOR)
