"""This case checks that a failed read is reported, or stops the machine until cont repeats it.

How: rerror=report: the guest must see the error, and the repeated read must be right. rerror=stop:
the guest must wait through two stops and then get the right data. rerror=enospc must stop only for
ENOSPC.
Related: missing-object-zero-fill, async-error-ignored, error-kills-connection.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import DeviceError, ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal, expect_failure, expect_same

POLICIES = {
    "report": {EIO: "report", ENOSPC: "report"},
    "enospc": {EIO: "report", ENOSPC: "stop"},
    "stop": {EIO: "stop", ENOSPC: "stop"},
}


@case(groups="inject errors device", basis="MUST: qemu-system(1), werror and rerror")
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
                expect_equal(
                    (event["operation"], event["action"]),
                    ("read", action),
                    f"rerror={policy}: operation, action",
                )
                if action == "report":
                    with expect_failure(DeviceError, f"read of sector {sector} by the guest"):
                        ata.finish_read()
                else:
                    vm.wait_event("STOP")
                    assert ata.is_waiting, (
                        f"rerror={policy}: the guest's read ended while the machine was stopped"
                    )
                    vm.qmp("cont")
                    expect_same(
                        ata.finish_read(), old, f"rerror={policy}: sector {sector}, after cont"
                    )
                expect_same(ata.read(sector), old, f"rerror={policy}: sector {sector}, read again")
    disk.verify()
