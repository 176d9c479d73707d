"""This case checks that a failed flush of the guest is reported, or waits for cont and is repeated.

How: write and flush with werror=report: the guest sees the flush fail and flushes again; with
werror=stop the flush waits through a stop, and ends well after cont.
Guards: flush-error-swallowed, flush-error-once.
"""

from errno import EIO

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error


@case(groups="inject errors device flush")
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
            assert event["action"] == policy, event
            if policy == "report":
                with pytest.raises(DeviceError):
                    ata.wait()
                ata.flush()
            else:
                vm.wait_event("STOP")
                assert ata.is_waiting
                vm.qmp("cont")
                ata.wait()
            disk.shadow.flush()
            assert ata.read(1) == data
    disk.verify()
