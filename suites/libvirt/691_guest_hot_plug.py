"""This case checks that a guest loses nothing when disks come and go while it writes.

How: the guest writes to one disk in a loop. A second is attached, written with stamps and detached,
and the load must neither stop nor fail. At last the disk under load itself is detached.
Guards: phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.guest import GuestDomain
from qbdcheck.kit.libvirt.xml import disk_xml

LOAD = (
    "set -e; for turn in $(seq 100000); do for part in 0 1 2 3; do"
    " dd if=/tmp/part of=/dev/vda bs=64k seek=$part oflag=direct conv=notrunc 2>/dev/null;"
    " done; echo $turn >/tmp/turn; done"
)


@case(
    groups="libvirt guest device concurrent slow nightly",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis=("MUST: virsh(1), attach-device", "MUST: virsh(1), detach-device"),
)
def test(new_disk, libvirt, guest):
    disk, other = new_disk(prefill=False), new_disk("4M")
    system = GuestDomain(libvirt, guest, disk_xml(disk, cache="none"))
    system.agent.write_file("/tmp/part", b"\x5a" * 65_536)
    load = system.begin(LOAD)
    second = system.file("second.xml", disk_xml(other, "vdb"))
    events = system.events()
    # /dev/vdb has the tools of the guest.
    for round_ in range(2):
        turn = system.turn()
        system.virsh("attach-device", second)
        system.run("until [ -b /dev/vdc ]; do sleep 0.05; done", 60)
        data = other.shadow.stamped(round_ << 20, 1 << 18)
        system.agent.write_file("/tmp/data", bytes(data))
        system.run(f"dd if=/tmp/data of=/dev/vdc bs=64k seek={round_ << 4} conv=fsync 2>&1")
        other.shadow.write(round_ << 20, data)
        system.virsh("detach-device", second)
        events.wait_count(round_ + 1, "device-removed", "ua-vdb")
        other.verify()
        system.wait_turn(turn + 2)
        assert load.is_running, f"the load ended: {load.wait()}"
    system.virsh("detach-disk", "vda")
    events.wait("device-removed", "ua-vda")
    assert load.wait().status, "the load did not notice that its disk is gone"
    disk.shadow.write(0, b"\x5a" * 262_144)
    disk.verify()
    system.virsh("destroy")
