"""This case checks that libvirt's parser refuses the protocol qbd, also without the schema.

How: define, create, attach-device and domxml-to-native on a disk with protocol='qbd'. Each message
must name the attribute and its value. Nothing may be defined, and no disk may be attached.
Guards: unknown-name-accepted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_in
from qbdcheck.kit.libvirt.domain import plugged
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml, element

REFUSED = "Invalid value for attribute 'protocol' in element 'source': 'qbd'"


@case(
    groups="libvirt names errors",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain source", "MUST: qbdcheck, docs/libvirt.md"),
)
def test(disk, libvirt, nbd_io):
    source = "network " + element("source", protocol="qbd", name="pool/vol")
    file = libvirt.file("qbd.xml", domain_xml(disk_xml(source), emulator=libvirt.emulator))
    for words in (
        ("define", file), ("create", file), ("domxml-to-native", "qemu-argv", "--xml", file)
    ):  # fmt: skip
        expect_in(REFUSED, libvirt.fails(*words), f"virsh {words[0]}")
    expect_equal(libvirt.virsh("list", "--all", "--name").split(), [], "virsh list")
    domain = plugged(libvirt, disk)
    second = libvirt.file("second.xml", disk_xml(source, "vdb"))
    expect_in(REFUSED, domain.fails("attach-device", second), "virsh attach-device")
    listed = domain.virsh("domblklist").split()
    assert "vdb" not in listed, f"virsh domblklist after the refusal: {listed}"
    domain.check(nbd_io, disk.shadow)
