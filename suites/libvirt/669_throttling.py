"""This case checks that limits of requests hold, in the XML and changed live, and change no data.

How: a device sends sectors one by one. With iotune of 10 requests a second, 25 take at least one
second; a limit that blkdeviotune sets acts at once; without a limit the domain has none.
Guards: limit-not-enforced.
"""

from qbdcheck.kit import case, now_s
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import halted
from qbdcheck.kit.libvirt.xml import disk_xml, element


@case(
    groups="libvirt device throttle slow",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain iotune", "MUST: virsh(1), blkdeviotune"),
)
def test(disk, libvirt):
    limit = element("iotune", element("total_iops_sec", "10"))
    with halted(libvirt, disk_xml(disk, "hda", "ide", limit)) as (domain, ata):

        def took_s(count):
            start = now_s()
            for sector in range(count):
                data = disk.shadow.stamped(sector * 512, 512)
                ata.write(sector, data)
                disk.shadow.write(sector * 512, data)
            return now_s() - start

        def must_last(count, rate):
            # QEMU lets a second's worth through at once, and one request more.
            least_s = (count - rate - 1) / rate
            seen_s = took_s(count)
            assert seen_s >= least_s, (
                f"{count} writes at {rate} a second: expected {least_s:.1f} s or more, "
                f"got {seen_s:.2f} s"
            )

        must_last(25, 10)
        domain.virsh("blkdeviotune", "hda", "--total-iops-sec", "20", "--live")
        must_last(45, 20)
        domain.virsh("blkdeviotune", "hda", "--total-iops-sec", "0", "--live")
        took_s(40)
        shown = domain.qmp("query-block")[0]["inserted"]["iops"]
        expect_equal(shown, 0, "iops of query-block without a limit")
        ata.flush()
    disk.verify()
