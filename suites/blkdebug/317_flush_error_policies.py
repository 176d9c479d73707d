"""This case checks that a failed flush of the guest is reported, or waits for cont and is repeated.

How: a write and a flush. With werror=report the guest must see the flush fail, and flushes again.
With werror=stop the flush must wait while the machine is stopped, and succeed after cont.
Related: flush-error-swallowed, flush-error-once.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal, expect_failure, expect_same


@case(groups="inject errors device flush", basis="MUST: qemu-system(1), werror and rerror")
def test(disk, machine, scratch):
    rule = error(number=EIO, iotype="flush", once=True)
    faulty = blkdebug(disk.protocol_blockdev(), rule, node_name="disk")
    for policy in ("report", "stop"):
        with ata_machine(machine, scratch, faulty, werror=policy) as (vm, ata):
            data = disk.shadow.stamped(512, 512)
            ata.write(1, data)
            disk.shadow.write(512, data)
            ata.start_flush()
            event = vm.wait_event("BLOCK_IO_ERROR")["data"]
            expect_equal(event["action"], policy, f"werror={policy}: action of the failed flush")
            if policy == "report":
                with expect_failure(DeviceError, "flush by the guest"):
                    ata.wait()
                ata.flush()
            else:
                vm.wait_event("STOP")
                assert ata.is_waiting, "the guest's flush ended while the machine was stopped"
                vm.qmp("cont")
                ata.wait()
            disk.shadow.flush()
            expect_same(ata.read(1), data, f"werror={policy}: sector 1, read by the guest")
    disk.verify()
