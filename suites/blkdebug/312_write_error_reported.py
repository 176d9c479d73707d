"""This case checks that with werror=report a failed write is the guest's, and the machine goes on.

How: an ATA disk whose port registers the case works itself; EIO and ENOSPC for one sector. The
guest sees the error bit, QMP an event, and the same write, repeated, succeeds.
Guards: async-error-ignored, errno-collapsed, transient-becomes-fatal.
"""

from errno import EIO, ENOSPC

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error


@case(groups="inject errors device quick")
def test(disk, machine, scratch, golden):
    rules = [error(number=number, iotype="write", sector=77, once=True) for number in (EIO, ENOSPC)]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk")
    with ata_machine(machine, scratch, faulty, werror="report", rerror="report") as (vm, ata):
        data = disk.shadow.stamped(77 * 512, 512)
        for _ in rules:
            with pytest.raises(DeviceError):
                ata.write(77, data)
            golden.json(vm.wait_event("BLOCK_IO_ERROR")["data"])
            assert ata.read(77) == disk.shadow.expected(77 * 512, 512), "a failed write is there"
        ata.write(77, data)
        disk.shadow.write(77 * 512, data)
        assert ata.read(77) == data
        assert vm.qmp("query-status")["status"] == "running"
    disk.verify()
