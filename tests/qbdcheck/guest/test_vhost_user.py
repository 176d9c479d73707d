"""Disks by vhost-user: the arguments of QEMU, and what is not run."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.guest.devices import Device
from qbdcheck.guest.guest import GuestDisk
from qbdcheck.guest.vhost_user import chardev, device_options, find, shared_memory, slot_of
from qbdcheck.kit.guests import Guests
from qbdcheck.programs.blockdev import file_node, over
from qbdcheck.targets.session import TargetSession
from tests.qbdcheck.targets.conftest import Opener, open_target, scratch

__all__ = ["open_target", "scratch"]


def test_device_has_the_chardev_and_the_slot_of_its_disk() -> None:
    options = device_options(Device(queues=2, physical=512), "disk0", slot_of(0))
    assert options["chardev"] == chardev("disk0", "/tmp/v")["id"]
    assert options["addr"] == "0x11"
    assert options["num-queues"] == 2
    assert "0000:00:11.0" in find(slot_of(0))
    with pytest.raises(NotRun, match="at most 15 disks"):
        slot_of(15)


@pytest.mark.parametrize(
    ("device", "what"),
    [
        (Device("nvme"), "as nvme"),
        (Device("virtio-scsi"), "as virtio-scsi"),
        (Device(werror="stop"), "with werror or rerror"),
        (Device(iothread="io0"), "with an iothread"),
        (Device(write_cache=False), "with a write cache that the guest can switch"),
        (Device(logical=4096), "with blocks of 4096"),
        (Device(), "with physical blocks of 4096"),
    ],
)
def test_other_devices_are_not_run(device: Device, what: str) -> None:
    with pytest.raises(NotRun, match=f"vhost-user has no disk {what}"):
        device_options(device, "disk0", slot_of(0))


def test_memory_is_shared_and_a_template_is_not_changed(tmp_path: Path) -> None:
    assert "share=on" in shared_memory(None, tmp_path, "g", 512)
    (tmp_path / "ram").write_bytes(b"memory")
    memory = shared_memory(tmp_path, tmp_path, "g", 512)
    assert f"mem-path={tmp_path}/g.ram,share=on" in memory
    assert (tmp_path / "g.ram").read_bytes() == b"memory"


def test_disk_by_vhost_user_has_no_node() -> None:
    with pytest.raises(NotRun, match="QEMU has no node of it"):
        _ = GuestDisk("disk0", "/tmp/v", Device(), "/dev/vdb", slot=17).node
    assert GuestDisk("disk0", "node-disk0", Device(), "/dev/vdb").node == "node-disk0"


def _route(session: TargetSession) -> Guests:
    return Guests(session, session.scratch)


def test_only_the_raw_volume_of_the_target_is_routed(open_target: Opener) -> None:
    session = open_target("vhost-user")
    disk = session.new_disk("1M", prefill=False)
    route = _route(session)._vhost_user
    socket = route(disk.blockdev(discard="unmap"))
    assert socket == f"{disk.backend.directory}/v"
    assert Path(socket).is_socket()
    assert route(over("raw", file_node("/tmp/other"))) is None
    with pytest.raises(NotRun, match="not qcow2 on it"):
        route(over("qcow2", disk.protocol_blockdev()))
    options = disk.blockdev()
    options["file"]["reconnect-delay"] = 30
    with pytest.raises(NotRun, match="has no reconnect-delay, an option of QEMU's node"):
        route(options)
    disk.backend.front = (dict(disk.protocol_blockdev()), "")
    with pytest.raises(NotRun, match="in a proxy for NBD"):
        route(disk.blockdev())
