"""This case checks that a guest that is saved while it writes continues as if nothing had happened.

How: a process of the guest counts, and writes each number to the disk and to its memory. The domain
is saved and restored under it. Disk and memory must agree, and no number may be missing.
Guards: phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.libvirt.guest import GuestDomain
from qbdcheck.kit.libvirt.xml import disk_xml

LOAD = (
    "set -e; for turn in $(seq 0 2047); do printf '%08d%504s' $turn '' |"
    " dd of=/dev/vda bs=512 seek=$turn oflag=direct conv=notrunc 2>/dev/null;"
    " echo $turn >/tmp/turn; done"
)


@case(
    groups="libvirt guest flush slow nightly",
    programs="qemu-system-x86_64",
    limit_s=240,
    basis=("MUST: virsh(1), save", "MUST: virsh(1), restore"),
)
def test(disk, libvirt, guest, scratch):
    system = GuestDomain(libvirt, guest, disk_xml(disk, cache="writeback"))
    load = system.begin(LOAD)
    for _ in range(2):
        system.wait_turn(system.turn() + 10)
        system.virsh("save", scratch / "saved")
        libvirt.virsh("restore", scratch / "saved")
        system.restarted()
        assert load.is_running, f"the process of the guest ended: {load.wait()}"
    system.wait_turn(system.turn() + 10)
    load.kill()
    last = system.turn()
    system.virsh("destroy")
    lines = bytes(disk.read_all(0, (last + 1) * 512))
    for turn in range(last + 1):
        seen, wanted = lines[turn * 512 : turn * 512 + 8], f"{turn:08d}".encode()
        assert seen == wanted, f"sector {turn} of {last + 1}: expected {wanted!r}, got {seen!r}"
    rest = (last + 3) * 512  # the process was killed within the write behind the last number
    disk.verify(rest, disk.size - rest)
