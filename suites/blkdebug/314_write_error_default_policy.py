"""This case checks that by default, and with werror=enospc, only a full disk stops the machine.

How: EIO, which the guest must see, then ENOSPC, which it must not; after cont the write is done.
The policies auto (the default) and enospc behave alike.
Guards: errno-collapsed, transient-becomes-fatal.
"""

from errno import EIO, ENOSPC

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error


@case(groups="inject errors device")
def test(disk, machine, scratch):
    rules = [error(number=number, iotype="write", sector=5, once=True) for number in (EIO, ENOSPC)]
    faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk")
    for policy in ({}, {"werror": "enospc"}):
        with ata_machine(machine, scratch, faulty, **policy) as (vm, ata):
            data = disk.shadow.stamped(5 * 512, 512)
            with pytest.raises(DeviceError):
                ata.write(5, data)
            assert vm.wait_event("BLOCK_IO_ERROR")["data"]["action"] == "report"
            assert vm.qmp("query-status")["status"] == "running"
            ata.start_write(5, data)
            event = vm.wait_event("BLOCK_IO_ERROR")["data"]
            assert (event["action"], event["nospace"]) == ("stop", True), event
            vm.wait_event("STOP")
            assert ata.is_waiting
            vm.qmp("cont")
            ata.wait()
            disk.shadow.write(5 * 512, data)
        disk.verify()
