"""This case checks that limits of requests hold, in the XML and changed live, and change no data.

How: a device sends sectors one by one. QEMU's own count of the time that writes took must show that
iotune, then another limit by blkdeviotune, made them wait. Without a limit the domain has none.
Guards: limit-not-enforced, option-not-passed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.libvirt.domain import halted
from qbdcheck.kit.libvirt.xml import disk_xml, element


@case(
    groups="libvirt device throttle slow",
    programs="qemu-system-x86_64",
    basis=("MUST: libvirt, domain iotune", "MUST: virsh(1), blkdeviotune"),
)
def test(disk, libvirt):
    limit = element("iotune", element("total_iops_sec", "2"))
    with halted(libvirt, disk_xml(disk, "hda", "ide", limit)) as (domain, ata):

        def write(count):
            for sector in range(count):
                data = disk.shadow.stamped(sector * 512, 512)
                ata.write(sector, data)
                disk.shadow.write(sector * 512, data)

        def must_last(count, rate):
            expect_equal(domain.inserted("hda")["iops"], rate, "iops of query-block")
            before = domain.stats("hda")["wr_total_times"]
            write(count)
            # QEMU lets up to a second's worth through at once, and one request more.
            least_s = (count - rate - 1) / rate
            seen_s = (domain.stats("hda")["wr_total_times"] - before) / 1e9
            assert seen_s >= least_s, (
                f"{count} writes at {rate} a second: expected that they take {least_s:.1f} s or "
                f"more, got {seen_s:.2f} s"
            )

        must_last(7, 2)
        domain.virsh("blkdeviotune", "hda", "--total-iops-sec", "4", "--live")
        must_last(13, 4)
        domain.virsh("blkdeviotune", "hda", "--total-iops-sec", "0", "--live")
        write(20)
        expect_equal(domain.inserted("hda")["iops"], 0, "iops of query-block without a limit")
        ata.flush()
    disk.verify()
