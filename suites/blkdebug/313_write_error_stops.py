"""This case checks that with werror=stop a failed write stops the machine, and cont repeats it.

How: one write fails three times in a row: each time the machine stops with io-error, the guest
sees no end of its command. After the last cont it ends well and the data is there. (io-status is
another story: docs/findings.md#qemu-io-status-stays.)
Guards: transient-becomes-fatal, async-error-ignored, phantom-write.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error

FAILS = (EIO, ENOSPC, EIO)


@case(groups="inject errors device quick")
def test(disk, machine, scratch):
    rules = [error(number=number, iotype="write", sector=9, once=True) for number in FAILS]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk")
    with ata_machine(machine, scratch, faulty, werror="stop", rerror="stop") as (vm, ata):
        data = disk.shadow.stamped(9 * 512, 512)
        assert vm.qmp("query-block")[0]["io-status"] == "ok"
        ata.start_write(9, data)
        for number in FAILS:
            event = vm.wait_event("BLOCK_IO_ERROR")["data"]
            told = event["operation"], event["action"], event["nospace"]
            assert told == ("write", "stop", number == ENOSPC), event
            vm.wait_event("STOP")
            assert vm.qmp("query-block")[0]["io-status"] == "failed"  # that of the first error
            assert vm.qmp("query-status")["status"] == "io-error"
            assert ata.is_waiting, "the guest's command ended while the machine was stopped"
            vm.qmp("cont")
        ata.wait()
        disk.shadow.write(9 * 512, data)
        assert vm.qmp("query-status")["status"] == "running"
        assert ata.read(9) == data
    disk.verify()
