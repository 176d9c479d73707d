"""This case checks that a domain that is saved and restored has all its data, flushed or not.

How: writes without a flush, virsh save, reading the volume from outside, virsh restore; twice. The
volume must have all data when save returns, because the domain may be restored on another host.
Guards: phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import plugged


@case(
    groups="libvirt flush",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), save", "MUST: virsh(1), restore"),
)
def test(disk, libvirt, nbd_io, scratch):
    domain = plugged(libvirt, disk, cache="writeback")
    for round_ in range(2):
        with nbd_io(domain.export(), shadow=disk.shadow) as io:
            for number in range(8):
                io.write((number << 20) + (round_ << 18), 131_584)
        domain.end_exports()
        domain.virsh("save", scratch / "saved")
        expect_equal(domain.state, "shut off (saved)", "virsh domstate after save")
        disk.verify()
        libvirt.virsh("restore", scratch / "saved", "--paused")
        domain.restarted()
        domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
