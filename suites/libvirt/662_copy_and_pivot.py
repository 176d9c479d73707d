"""This case checks that blockcopy under load moves a disk to another volume without losing a write.

How: the copy goes to a second volume of the target that holds other data. Writes go on after the
pivot. The second volume must have everything; the first must not get a write after the pivot.
Guards: job-misses-write, phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal
from qbdcheck.kit.libvirt.domain import load, plugged
from qbdcheck.kit.libvirt.xml import disk_xml, source_of


@case(
    groups="libvirt job mirror",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), blockcopy", "MUST: QAPI, blockdev-mirror"),
)
def test(new_disk, libvirt, nbd_io, seed):
    disk, second = new_disk(), new_disk()
    domain = plugged(libvirt, disk)
    copy = domain.file("copy.xml", disk_xml(second))
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        with load(io, seed, "load"):
            words = ("--wait", "--pivot", "--transient-job", "--reuse-external")
            domain.virsh("blockcopy", "vda", "--xml", copy, *words)
        frozen = disk.shadow.copy()
        left = disk.read_all()
        for number in range(8):
            io.write((number << 20) + 1024, 70_144)
        io.flush()
    expect_equal(source_of(domain.disk()), source_of(disk_xml(second)), "source of vda")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    expect_content(disk.shadow, 0, second.read_all(), "the volume to which vda was moved")
    assert (disk.read_all() == left).all(), "the first volume was written after the pivot"
    assert frozen.check(0, second.read_all()) != [], "the writes after the pivot went nowhere"
