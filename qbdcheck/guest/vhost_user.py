"""Disks of a guest by vhost-user-blk: a server serves them past the block layer of QEMU.

QEMU gives the server the guest's memory, so that memory must be shared. It has no node for such a
disk: block jobs, error policies and counters of QEMU do not exist for it.

Reference: QEMU, docs/interop/vhost-user.rst; `qemu-system-x86_64 -device vhost-user-blk-pci,help`.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from qbdcheck.errors import NotRun
from qbdcheck.guest.devices import Device
from qbdcheck.programs.blockdev import Blockdev

Route = Callable[[Blockdev], str | None]
"""Return the vhost-user socket of the volume that a node opens; None for any other node."""
_FIRST_SLOT = 17
"""PCI slots from here on are for these disks: above those of QEMU and of `Guest`."""
_SLOTS = 32 - _FIRST_SLOT
_RECONNECT_S = 1
"""Seconds after which QEMU connects again to a server that was restarted."""
NO_NODE = "the disk is served by vhost-user: QEMU has no node of it"


def no_route(_blockdev: Blockdev) -> str | None:
    """Return None: no disk of the guest is served by vhost-user."""
    return None


def shared_memory(template: Path | None, directory: Path, name: str, mib: int) -> str:
    """Return the -object of memory that a server can share.

    :param template: the directory of a saved guest. Its memory is copied to ``NAME.ram``, because a
        guest that shares it would change it.
    """
    if template is None:
        return f"memory-backend-memfd,id=ram,size={mib}M,share=on"
    copy = directory / f"{name}.ram"
    shutil.copyfile(template / "ram", copy)
    return f"memory-backend-file,id=ram,size={mib}M,mem-path={copy},share=on"


def slot_of(number: int) -> int:
    """Return the PCI slot of disk ``number`` of a guest, from 0.

    :raise NotRun: the guest has no slot left.
    """
    if number >= _SLOTS:
        raise NotRun(f"a guest has at most {_SLOTS} disks by vhost-user")
    return _FIRST_SLOT + number


def chardev(identity: str, path: str) -> dict[str, Any]:
    """Return the arguments of chardev-add for the socket of a server."""
    address = {"type": "unix", "data": {"path": path}}
    data = {"addr": address, "server": False, "reconnect": _RECONNECT_S}
    return {"id": f"chardev-{identity}", "backend": {"type": "socket", "data": data}}


def device_options(device: Device | None, identity: str, slot: int) -> dict[str, Any]:
    """Return the arguments of device_add. The server decides on the sizes of blocks.

    :param device: what the case asks for; None if any disk will do.

    :raise NotRun: vhost-user has no such device, or not this option of it.
    """
    device = device or Device(physical=512)
    wanted = {
        f"as {device.kind}": device.kind != "virtio-blk",
        "with werror or rerror": device.werror or device.rerror,
        "with an iothread": device.iothread,
        "with a write cache that the guest can switch": device.write_cache is not None,
        f"with blocks of {device.logical}": device.logical != 512,
        f"with physical blocks of {device.physical}": device.physical != 512,
    }
    for what, is_wanted in wanted.items():
        if is_wanted:
            raise NotRun(f"vhost-user has no disk {what}")
    result = {"driver": "vhost-user-blk-pci", "id": identity, "addr": f"{slot:#x}"}
    result["chardev"] = f"chardev-{identity}"
    return result | ({"num-queues": device.queues} if device.queues else {})


def find(slot: int) -> str:
    """Return a shell command that prints the name of the disk in a PCI slot, or nothing.

    All disks of a server have the same serial number, so the slot tells them apart.
    """
    bus = f"*/0000:00:{slot:02x}.0/*"
    found = f'case $(readlink -f "$d") in {bus}) echo "${{d##*/}}"; esac'
    return f"for d in /sys/block/vd*; do {found}; done"
