"""This case checks that with werror=ignore the guest sees success, and the old data stays.

How: a write fails under werror=ignore: that data is lost is what was asked for, but it may not be
half there, and the disk must work on.
Guards: torn-write, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error


@case(groups="inject errors device")
def test(disk, machine, scratch):
    rule = error(number=EIO, iotype="write", sector=300, once=True)
    faulty = blkdebug(disk.protocol_blockdev(), rule, node_name="disk")
    with ata_machine(machine, scratch, faulty, werror="ignore", rerror="ignore") as (vm, ata):
        ata.write(300, bytes(512))
        event = vm.wait_event("BLOCK_IO_ERROR")["data"]
        assert (event["operation"], event["action"]) == ("write", "ignore"), event
        assert "nospace" not in event, "the machine cannot stop, and yet it is told why it would"
        assert ata.read(300) == disk.shadow.expected(300 * 512, 512)
        data = disk.shadow.stamped(301 * 512, 512)
        ata.write(301, data)
        disk.shadow.write(301 * 512, data)
        assert vm.qmp("query-status")["status"] == "running"
    disk.verify()
