"""This case checks that a chain in the domain's XML is used as it is, on a volume of the target.

How: an overlay whose header names no backing file, and a domain whose XML names the volume as its
backing store. The domain must read the volume, write the overlay, and leave the volume alone.
Guards: option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.libvirt.domain import Domain
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element, source_xml


@case(
    groups="libvirt backing qcow2",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain backingStore", "MUST: qemu-img(1), create"),
)
def test(disk, libvirt, nbd_io, qemu_img, scratch):
    overlay = scratch / "overlay"
    qemu_img("create", "-q", "-f", "qcow2", overlay, str(disk.size))
    kind, source = source_xml(disk.protocol_blockdev())
    base = element("backingStore", element("format", type="raw") + source, type=kind)
    xml = disk_xml(overlay, inner=base, format="qcow2")
    domain = Domain(libvirt, domain_xml(xml, emulator=libvirt.emulator, shared=["vda"]))
    frozen = disk.shadow.copy()
    domain.check(nbd_io, disk.shadow)
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        for number in range(8):
            io.write((number << 20) + 66_048, 70_144)
        io.write_zeroes(512, 100_352)
        io.flush()
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    expect_content(frozen, 0, disk.read_all(), "the volume below the overlay")
