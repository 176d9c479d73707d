"""This case checks that a machine stopped by a write error can be reset or quit without harm.

How: a write waits in a stopped machine. Then follow system_reset and cont, or the end of QEMU. The
sector must be old or new, and the request repeated after the reset must not hit another sector.
Guards: inflight-hang-on-disconnect.
Related: torn-write, zombie-write-after-reconnect.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.expectations import expect_equal


@case(groups="inject errors device", basis="MUST: qemu-system(1), werror and rerror")
def test(disk, machine, scratch):
    rule = error(number=ENOSPC, iotype="write", sector=600, once=True)
    faulty = blkdebug(disk.protocol_blockdev(), rule, node_name="disk")
    for way in ("reset", "quit"):
        with ata_machine(machine, scratch, faulty, werror="stop") as (vm, ata):
            data = disk.shadow.stamped(600 * 512, 512)
            ata.start_write(600, data)
            vm.wait_event("STOP")
            disk.shadow.maybe_write(600 * 512, data)
            if way == "reset":
                vm.qmp("system_reset")
                vm.qmp("cont")
                vm.wait_event("RESUME")
                # No further request: docs/findings.md#qemu-ide-retry-after-reset.
                expect_equal(
                    vm.qmp("query-status")["status"],
                    "running",
                    "the machine's status after reset and cont",
                )
        disk.verify()
