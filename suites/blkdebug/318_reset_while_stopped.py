"""This case checks that a machine stopped by a write error can be reset or ended without harm.

How: a write waits in a stopped machine; then system_reset and cont, or quit. The sector is old or
new, never a third, and no other sector is hit by the request that is repeated after the reset.
Guards: inflight-hang-on-disconnect, torn-write, zombie-write-after-reconnect.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error


@case(groups="inject errors device")
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
                # docs/findings.md#qemu-ide-retry-after-reset: the device is not asked for more.
                assert vm.qmp("query-status")["status"] == "running"
        disk.verify()
