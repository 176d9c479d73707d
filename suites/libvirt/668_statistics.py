"""This case checks that domblkstat counts each request of the device, and its bytes.

How: a device without a guest OS sends a known number of reads, writes and flushes.
Guards: requests-not-counted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import halted
from qbdcheck.kit.libvirt.xml import disk_xml

READS, WRITES, FLUSHES = 5, 7, 3


@case(groups="libvirt device", programs="qemu-system-x86_64", basis="MUST: virsh(1), domblkstat")
def test(disk, libvirt):
    with halted(libvirt, disk_xml(disk, "hda", "ide")) as (domain, ata):
        before = domain.stats("hda")
        for sector in range(WRITES):
            data = disk.shadow.stamped(sector * 1024, 512)
            ata.write(sector * 2, data)
            disk.shadow.write(sector * 1024, data)
        for sector in range(READS):
            disk.judge(sector * 512, ata.read(sector))
        for _ in range(FLUSHES):
            ata.flush()
        after = domain.stats("hda")
        names = ("rd_req", "rd_bytes", "wr_req", "wr_bytes", "flush_operations")
        seen = {name: after[name] - before[name] for name in names}
        wanted = dict(zip(names, (READS, READS * 512, WRITES, WRITES * 512, FLUSHES), strict=True))
        expect_equal(seen, wanted, "virsh domblkstat, the difference")
    disk.verify()
