"""This case checks that with werror=ignore the guest sees success, and the old data stays.

How: a write fails under werror=ignore. Its data is lost, as the policy demands, but no part of it
may be there, and the disk must work on.
Related: torn-write, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal, expect_same


@case(groups="inject errors device", basis="MUST: qemu-system(1), werror and rerror")
def test(disk, machine, scratch):
    rule = error(number=EIO, iotype="write", sector=300, once=True)
    faulty = blkdebug(disk.protocol_blockdev(), rule, node_name="disk")
    with ata_machine(machine, scratch, faulty, werror="ignore", rerror="ignore") as (vm, ata):
        ata.write(300, bytes(512))
        event = vm.wait_event("BLOCK_IO_ERROR")["data"]
        expect_equal(
            (event["operation"], event["action"]),
            ("write", "ignore"),
            "BLOCK_IO_ERROR: operation, action",
        )
        assert "nospace" not in event, (
            f"the event must not have nospace, because the machine cannot stop: {event}"
        )
        expect_same(
            ata.read(300), disk.shadow.expected(300 * 512, 512), "sector 300, read by the guest"
        )
        data = disk.shadow.stamped(301 * 512, 512)
        ata.write(301, data)
        disk.shadow.write(301 * 512, data)
        expect_equal(vm.qmp("query-status")["status"], "running", "the machine's status")
    disk.verify()
