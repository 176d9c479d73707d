"""This case checks that a disk that is plugged in and out beside a loaded disk keeps its data.

How: while a client writes to one disk, a second is attached by its XML, written, detached, and
attached again. Neither the load nor the other disk may lose a write, and QEMU may keep no node.
Guards: wrong-volume-or-lun, phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import Domain, load
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element


@case(
    groups="libvirt device concurrent",
    programs="qemu-system-x86_64",
    basis="MUST: virsh(1), attach-device",
)
def test(new_disk, libvirt, nbd_io, seed):
    disk, other = new_disk(), new_disk("4M")
    bus = element("controller", type="scsi", index=0, model="virtio-scsi")
    xml = domain_xml(disk_xml(disk), emulator=libvirt.emulator, devices=bus, shared=["vda"])
    domain = Domain(libvirt, xml)
    second = domain.file("second.xml", disk_xml(other, "sda", "scsi", "<shareable/>", cache="none"))
    nodes = len(domain.qmp("query-named-block-nodes"))
    with nbd_io(domain.export(), shadow=disk.shadow) as io, load(io, seed, "load"):
        for round_ in range(2):
            domain.virsh("attach-device", second)
            with nbd_io(domain.export("sda"), shadow=other.shadow) as second_io:
                second_io.write(round_ << 20, 200_192)
                second_io.flush()
            domain.end_export("sda")
            domain.virsh("detach-device", second)
            listed = domain.virsh("domblklist")
            assert "sda" not in listed, f"virsh domblklist after detach-device: {listed}"
            left = len(domain.qmp("query-named-block-nodes"))
            expect_equal(left, nodes, "nodes of QEMU after detach-device")
            other.verify()
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
