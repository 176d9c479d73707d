"""This case checks that with werror=report the guest sees a failed write, and the machine runs on.

How: an ATA disk whose port registers the case uses directly. EIO and ENOSPC for one sector: the
guest must see the error bit, QMP an event, and the same write, repeated, must succeed.
Related: async-error-ignored, errno-collapsed, transient-becomes-fatal.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal, expect_failure, expect_same


@case(groups="inject errors device quick", basis="MUST: qemu-system(1), werror and rerror")
def test(disk, machine, scratch, golden):
    rules = [error(number=number, iotype="write", sector=77, once=True) for number in (EIO, ENOSPC)]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk")
    with ata_machine(machine, scratch, faulty, werror="report", rerror="report") as (vm, ata):
        data = disk.shadow.stamped(77 * 512, 512)
        for _ in rules:
            with expect_failure(DeviceError, "write of sector 77 by the guest"):
                ata.write(77, data)
            event = vm.wait_event("BLOCK_IO_ERROR")["data"]
            event.pop("qom-path", None)  # QEMU 10.0 and later
            golden.json(event)
            expect_same(
                ata.read(77), disk.shadow.expected(77 * 512, 512), "sector 77 after the error"
            )
        ata.write(77, data)
        disk.shadow.write(77 * 512, data)
        expect_same(ata.read(77), data, "sector 77, read by the guest")
        expect_equal(vm.qmp("query-status")["status"], "running", "the machine's status")
    disk.verify()
