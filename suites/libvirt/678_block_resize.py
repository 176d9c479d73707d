"""This case checks that blockresize is refused on NBD without an effect, and done on a file.

How: virsh blockresize on a disk of the target, then on a file. What NBD cannot do must change
neither size nor data; what is done must be seen by QEMU, by the file, and as zeroes.
Guards: resize-false-success.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal, expect_in, expect_zeroes
from qbdcheck.kit.libvirt.daemon import VirshFailed
from qbdcheck.kit.libvirt.domain import Domain
from qbdcheck.kit.libvirt.xml import disk_xml, domain_xml

MIB = 1 << 20


@case(
    groups="libvirt size",
    programs="qemu-system-x86_64",
    requires="nbd",
    basis=("MUST: virsh(1), blockresize", "MUST: QAPI, block_resize"),
)
def test(disk, libvirt, nbd_io, scratch):
    file = scratch / "file"
    file.write_bytes(bytes(disk.read_all()))
    disks = (disk_xml(disk), disk_xml(file, "vdb"))
    domain = Domain(libvirt, domain_xml(*disks, emulator=libvirt.emulator, shared=["vda", "vdb"]))
    message = domain.fails("blockresize", "vda", f"{disk.size + MIB}B")
    expect_in("NBD nodes", message, "virsh blockresize vda, to a larger size")
    expect_equal(domain.size("vda"), disk.size, "size of vda after the refusal")
    with contextlib.suppress(VirshFailed):  # findings.md#qemu-resize-of-nbd-says-success
        domain.virsh("blockresize", "vda", f"{disk.size - MIB}B")
    expect_equal(domain.size("vda"), disk.size, "size of vda, which NBD cannot shrink")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("blockresize", "vdb", f"{disk.size + MIB}B")
    expect_equal(domain.size("vdb"), disk.size + MIB, "size of vdb in QEMU")
    expect_equal(file.stat().st_size, disk.size + MIB, "size of the file")
    data = file.read_bytes()
    expect_content(disk.shadow, 0, data[: disk.size], "the file after blockresize")
    expect_zeroes(data[disk.size :], "the new part of the file")
    domain.virsh("destroy")
    disk.verify()
