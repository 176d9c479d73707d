"""This case checks that a failed read is reported, or stops the machine until cont reads it again.

How: rerror=report: the guest sees the error, and repeated the read is right. rerror=stop: the guest
waits through two stops and then has the right data. rerror=enospc stops for ENOSPC alone.
Guards: missing-object-zero-fill, async-error-ignored, error-kills-connection.
"""

from errno import EIO, ENOSPC

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error

POLICIES = {
    "report": {EIO: "report", ENOSPC: "report"},
    "enospc": {EIO: "report", ENOSPC: "stop"},
    "stop": {EIO: "stop", ENOSPC: "stop"},
}


@case(groups="inject errors device")
def test(disk, machine, scratch):
    for policy, actions in POLICIES.items():
        rules = [
            error(number=number, iotype="read", sector=40 + number, once=True) for number in actions
        ]
        faulty = blkdebug(disk.protocol_blockdev(), *rules, node_name="disk")
        with ata_machine(machine, scratch, faulty, rerror=policy) as (vm, ata):
            for number, action in actions.items():
                sector = 40 + number
                old = disk.shadow.expected(sector * 512, 512)
                ata.start_read(sector)
                event = vm.wait_event("BLOCK_IO_ERROR")["data"]
                assert (event["operation"], event["action"]) == ("read", action), (policy, event)
                if action == "report":
                    with pytest.raises(DeviceError):
                        ata.finish_read()
                else:
                    vm.wait_event("STOP")
                    assert ata.is_waiting, (policy, number)
                    vm.qmp("cont")
                    assert ata.finish_read() == old
                assert ata.read(sector) == old
    disk.verify()
