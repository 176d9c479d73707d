"""Devices that show a node to a guest as a disk: their options for -device and device_add.

Reference: `qemu-system-x86_64 -device virtio-blk-pci,help`, and of the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

_ATA = ("ide", "ahci")
SCSI_BUS = "scsi0"
"""The id of the virtio-scsi controller of every guest."""
KINDS = ("virtio-blk", "virtio-scsi", "nvme", "ide", "ahci")


@dataclass(frozen=True)
class Device:
    """The device as which a guest sees a disk.

    :ivar kind: a member of KINDS. An ide or ahci disk must be plugged in before the guest starts.
        ahci needs a guest with the full kernel.
    :ivar logical: bytes of a logical block: 512 or 4096.
    :ivar physical: bytes of a physical block, at least ``logical``.
    :ivar iothread: id of an iothread object, for virtio-blk and virtio-scsi; "" for the main loop.
    :ivar queues: number of request queues of virtio-blk, virtio-scsi and nvme; 0 for QEMU's
        default. The guest uses at most one for each of its processors.
    :ivar write_cache: whether the guest sees a volatile cache; None for the node's default.
    :ivar werror: policy for failed writes and flushes: report, ignore, stop, enospc, auto; "" for
        QEMU's default. ``rerror``: for failed reads.
    """

    kind: str = "virtio-blk"
    logical: int = 512
    physical: int = 4096
    iothread: str = ""
    queues: int = 0
    write_cache: bool | None = None
    werror: str = ""
    rerror: str = ""

    def options(self, node: str, identity: str) -> dict[str, Any]:
        """Return the arguments of device_add.

        :raise ValueError: the kind is unknown, or does not have such an option.
        """
        self._must_be_known()
        result: dict[str, Any] = {"id": identity, "drive": node, "serial": identity}
        if self.kind == "virtio-blk":
            result |= {"driver": "virtio-blk-pci", "share-rw": True}
            result |= {"iothread": self.iothread} if self.iothread else {}
            result |= {"num-queues": self.queues} if self.queues else {}
        elif self.kind == "virtio-scsi":
            bus = f"bus-{identity}" if self.controller(identity) else SCSI_BUS
            result |= {"driver": "scsi-hd", "bus": f"{bus}.0", "share-rw": True}
        elif self.kind == "nvme":
            result |= {"driver": "nvme"}
            result |= {"max_ioqpairs": self.queues} if self.queues else {}
        else:
            bus = f"bus-{identity}" if self.kind == "ahci" else "ide"
            result |= {"driver": "ide-hd", "bus": f"{bus}.0"}
        if self.kind == "nvme":
            result |= {"logical_block_size": self.logical}
            result |= {"physical_block_size": max(self.logical, self.physical)}
        elif self.kind not in _ATA or self.logical == 512:
            result |= {"logical_block_size": self.logical, "physical_block_size": self.physical}
        if self.write_cache is not None:
            result["write-cache"] = "on" if self.write_cache else "off"
        for key, value in (("werror", self.werror), ("rerror", self.rerror)):
            if value:
                result[key] = value
        return result

    def _must_be_known(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown device {self.kind}; known: {', '.join(KINDS)}")
        if self.kind == "nvme" and (self.werror or self.rerror):
            raise ValueError("nvme has no werror and no rerror")
        if self.kind in {"nvme", *_ATA} and self.iothread:
            raise ValueError(f"{self.kind} has no iothread")
        if self.kind in _ATA and self.queues:
            raise ValueError(f"{self.kind} has no queues")

    def controller(self, identity: str) -> dict[str, Any]:
        """Return the arguments of device_add for a controller of its own, {} if it needs none."""
        if self.kind == "ahci":
            return {"driver": "ahci", "id": f"bus-{identity}"}
        if self.kind != "virtio-scsi" or not (self.queues or self.iothread):
            return {}
        result: dict[str, Any] = {"driver": "virtio-scsi-pci", "id": f"bus-{identity}"}
        result |= {"iothread": self.iothread} if self.iothread else {}
        return result | ({"num_queues": self.queues} if self.queues else {})

    @property
    def modules(self) -> str:
        """The kernel modules that the guest must load for it."""
        known = {"virtio-scsi": "virtio_scsi", "ide": "ata_piix", "ahci": "ahci"}
        return f"{known[self.kind]} sd_mod" if self.kind in known else ""

    def find(self, identity: str) -> str:
        """Return a shell command that prints the name of the device below /dev, or nothing."""
        if self.kind == "virtio-blk":
            where, test = "/sys/block/vd*", f'grep -qs "^{identity}$" "$d/serial"'
        elif self.kind == "nvme":
            where, test = "/sys/block/nvme*", f'grep -qs "{identity} *$" "$d/device/serial"'
        elif self.kind == "virtio-scsi":
            where, test = "/sys/block/sd*", f'grep -q {identity} "$d/device/vpd_pg80"'
        else:
            where = "/sys/block/sd*"
            test = f'grep -q ATA "$d/device/vendor" && grep -q {identity} "$d/device/vpd_pg80"'
        # A pattern that matched nothing is a word. In quotes it stays one when a disk appears.
        found = f'[ -e "$d" ] && {test} && echo "${{d##*/}}" && break'
        return f"for d in {where}; do {found}; done 2>/dev/null"
