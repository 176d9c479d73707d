"""This case checks that by default, and with werror=enospc, only ENOSPC stops the machine.

How: EIO, which the guest must see, then ENOSPC, which it must not see. After cont the write must be
done. The policies auto (the default) and enospc must behave alike.
Guards: transient-becomes-fatal.
Related: errno-collapsed.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal, expect_failure


@case(groups="inject errors device", basis="MUST: qemu-system(1), werror and rerror")
def test(disk, machine, scratch):
    rules = [error(number=number, iotype="write", sector=5, once=True) for number in (EIO, ENOSPC)]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk")
    for policy in ({}, {"werror": "enospc"}):
        with ata_machine(machine, scratch, faulty, **policy) as (vm, ata):
            data = disk.shadow.stamped(5 * 512, 512)
            with expect_failure(DeviceError, "write of sector 5 by the guest"):
                ata.write(5, data)
            expect_equal(
                vm.wait_event("BLOCK_IO_ERROR")["data"]["action"],
                "report",
                f"EIO with {policy}: action",
            )
            expect_equal(
                vm.qmp("query-status")["status"],
                "running",
                f"EIO with {policy}: the machine's status",
            )
            ata.start_write(5, data)
            event = vm.wait_event("BLOCK_IO_ERROR")["data"]
            expect_equal(
                (event["action"], event["nospace"]),
                ("stop", True),
                f"ENOSPC with {policy}: action, nospace",
            )
            vm.wait_event("STOP")
            assert ata.is_waiting, (
                f"ENOSPC with {policy}: the guest's write ended while the machine was stopped"
            )
            vm.qmp("cont")
            ata.wait()
            disk.shadow.write(5 * 512, data)
        disk.verify()
