"""This case checks that with werror=stop a failed write stops the machine, and cont repeats it.

How: one write fails three times in a row. Each time the machine must stop with io-error, and the
guest's command must not end. After the last cont it must succeed, and the data must be there. (The
io-status stays: docs/findings.md#qemu-io-status-stays.)
Related: transient-becomes-fatal, async-error-ignored, phantom-write.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal, expect_same

FAILS = (EIO, ENOSPC, EIO)


@case(groups="inject errors device quick", basis="MUST: qemu-system(1), werror and rerror")
def test(disk, machine, scratch):
    rules = [error(number=number, iotype="write", sector=9, once=True) for number in FAILS]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk")
    with ata_machine(machine, scratch, faulty, werror="stop", rerror="stop") as (vm, ata):
        data = disk.shadow.stamped(9 * 512, 512)
        expect_equal(
            vm.qmp("query-block")[0]["io-status"], "ok", "io-status before the first error"
        )
        ata.start_write(9, data)
        for number in FAILS:
            event = vm.wait_event("BLOCK_IO_ERROR")["data"]
            seen = event["operation"], event["action"], event["nospace"]
            expect_equal(
                seen,
                ("write", "stop", number == ENOSPC),
                "BLOCK_IO_ERROR: operation, action, nospace",
            )
            vm.wait_event("STOP")
            expect_equal(
                vm.qmp("query-block")[0]["io-status"],
                "failed",
                "io-status, that of the first error",
            )
            expect_equal(vm.qmp("query-status")["status"], "io-error", "the machine's status")
            assert ata.is_waiting, "the guest's command ended while the machine was stopped"
            vm.qmp("cont")
        ata.wait()
        disk.shadow.write(9 * 512, data)
        expect_equal(vm.qmp("query-status")["status"], "running", "the machine's status after cont")
        expect_same(ata.read(9), data, "sector 9, read by the guest")
    disk.verify()
