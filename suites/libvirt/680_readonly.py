"""This case checks that a disk with <readonly/> is read-only in QEMU and in the backend.

How: the disk is read through the domain. A writable export of its node must be refused, and no
request that changes anything may arrive at the backend.
Guards: option-not-passed.
"""

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.expectations import expect_equal, expect_failure
from qbdcheck.kit.libvirt.domain import Domain
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml


@case(groups="libvirt", programs="qemu-system-x86_64", basis="MUST: libvirt, domain readonly")
def test(disk, libvirt, nbd_io):
    xml = disk_xml(disk, inner="<readonly/>")
    domain = Domain(libvirt, domain_xml(xml, emulator=libvirt.emulator, shared=["vda"]))
    [inserted] = [one["inserted"] for one in domain.qmp("query-block")]
    expect_equal(inserted["ro"], True, "ro of query-block")
    with expect_failure(QmpFailed, "a writable export of a read-only disk", "read-only"):
        domain.export()
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
