"""This case checks that a domain reaches a volume of the qbd driver by a disk of the protocol rbd.

How: the reference backend serves a volume. QEMU has the driver loaded under the name rbd, and the
domain a disk with protocol='rbd'. It must read and write, grow by blockresize, and be saved.
Guards: phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import Domain
from qbdcheck.kit.libvirt.qbd import volume_of_qbd
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml

MIB = 1 << 20


@case(
    groups="libvirt device",
    programs="qemu-system-x86_64",
    requires="nbd control add_volume",
    basis=("MUST: libvirt, domain source", "MUST: qbdcheck, docs/libvirt.md"),
)
def test(new_disk, libvirt, nbd_io, scratch, seed):
    random = seed.stream("places")
    disk = new_disk(name="pool/vol", beside=new_disk("1M"))
    blockdev, emulator = volume_of_qbd(libvirt, disk, scratch)
    domain = Domain(libvirt, domain_xml(disk_xml(blockdev), emulator=emulator, shared=["vda"]))
    expect_equal(domain.disk().find("source").get("protocol"), "rbd", "protocol of vda")
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        for _ in range(64):
            length = random.choice((512, 4096, 70_144))
            io.write(random.randrange(0, disk.size - length) & -512, length)
        io.write_zeroes(1 << 20, 100_352)
        io.discard(3 << 20, 65_536)
        io.flush()
    domain.check(nbd_io, disk.shadow)
    domain.end_exports()
    domain.virsh("blockresize", "vda", f"{disk.size + MIB}B")
    disk.shadow.resize(disk.size + MIB)
    expect_equal(domain.size(), disk.size, "size of vda after virsh blockresize")
    domain.virsh("save", scratch / "saved")
    libvirt.virsh("restore", scratch / "saved", "--paused")
    domain.restarted()
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
