"""This case checks that an aborted blockcopy leaves the disk on its volume, with all writes.

How: the copy is ready, the load continues, and the job is aborted. The copy must be complete as of
the abort, and the volume must have all writes, also those that follow.
Guards: job-misses-write, phantom-write, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal
from qbdcheck.kit.libvirt.domain import load, plugged
from qbdcheck.kit.libvirt.xml import disk_xml, source_of


@case(
    groups="libvirt job mirror",
    programs="qemu-system-x86_64",
    basis=("MUST: virsh(1), blockcopy", "MUST: QAPI, block-job-cancel"),
)
def test(new_disk, libvirt, nbd_io, seed):
    disk, second = new_disk(), new_disk()
    domain = plugged(libvirt, disk)
    copy = domain.file("copy.xml", disk_xml(second))
    with nbd_io(domain.export(), shadow=disk.shadow) as io:
        with load(io, seed, "load"):
            words = ("--transient-job", "--reuse-external")
            domain.virsh("blockcopy", "vda", "--xml", copy, *words)
            domain.wait_ready()
        domain.virsh("blockjob", "vda", "--abort")
        frozen = disk.shadow.copy()
        with load(io, seed, "more"):
            expect_equal(domain.virsh("blockjob", "vda", "--info").strip(), "", "job of vda")
        io.flush()
    expect_equal(source_of(domain.disk()), source_of(disk_xml(disk)), "source of vda")
    expect_content(frozen, 0, second.read_all(), "the copy at the end of the job")
    domain.check(nbd_io, disk.shadow)
    domain.virsh("destroy")
    disk.verify()
