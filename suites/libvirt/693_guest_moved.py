"""This case checks that blockcopy moves the disk of a guest that writes, without a gap.

How: a guest rewrites 1 MiB in a loop, with a number in each turn. The disk moves to a second volume
and back, each time with --pivot. The guest must see no error, and the last turn must be complete.
Guards: phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.libvirt.guest import GuestDomain
from qbdcheck.kit.libvirt.xml import disk_xml

LOAD = (
    "set -e; for turn in $(seq 100000); do"
    " [ -e /tmp/stop ] && exit 0; yes $turn | head -c 1048576 >/tmp/turn.data;"
    " dd if=/tmp/turn.data of=/dev/vda bs=64k oflag=direct conv=notrunc 2>/dev/null;"
    " echo $turn >/tmp/turn; done"
)
WORDS = ("--wait", "--pivot", "--transient-job", "--reuse-external")


@case(
    groups="libvirt guest job mirror slow nightly",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis=("MUST: virsh(1), blockcopy", "MUST: QAPI, blockdev-mirror"),
)
def test(new_disk, libvirt, guest):
    disk, second = new_disk(), new_disk()
    system = GuestDomain(libvirt, guest, disk_xml(disk))
    load = system.begin(LOAD)
    for target in (second, disk, second):
        system.wait_turn(system.turn() + 2)
        copy = system.file("copy.xml", disk_xml(target))
        system.virsh("blockcopy", "vda", "--xml", copy, *WORDS, timeout_s=120)
    system.wait_turn(system.turn() + 2)
    system.run("touch /tmp/stop")
    assert load.wait().status == 0, "the guest's writes failed"
    system.run("sync; dd if=/dev/vda bs=64k count=16 iflag=direct | cmp - /tmp/turn.data")
    disk.shadow.write(0, system.agent.read_file("/tmp/turn.data"))
    system.virsh("destroy")
    expect_content(disk.shadow, 0, second.read_all(), "the volume to which the disk was moved")
