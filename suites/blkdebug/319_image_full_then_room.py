"""This case checks that a guest on a qcow2 image survives a full volume once there is space again.

How: the volume refuses the growth of the image with ENOSPC at several points of an allocating
write. The machine stops, there is space again, and cont follows. The guest's write must be done and
the image consistent.
Guards: transient-becomes-fatal.
Related: errno-collapsed, thin-alloc-toctou.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_equal, expect_same

EVENTS = {"cluster_alloc": "write", "write_aio": "write", "l2_update": "flush"}
"""An event, and the command of the guest that raises it."""


@case(
    groups="inject errors device qcow2",
    basis=("MUST: qemu-system(1), werror and rerror", "MUST: QEMU, interop/qcow2"),
)
def test(new_disk, machine, qemu_img, scratch):
    disk = new_disk("1M", prefill=False, format="qcow2")
    for number, event in enumerate(EVENTS):
        sector = 200 * number + 7
        rule = error(event, ENOSPC, iotype="write", once=True)
        image = over("qcow2", blkdebug(disk.protocol_blockdev(), rule), "disk")
        with ata_machine(machine, scratch, image, werror="enospc") as (vm, ata):
            data = disk.shadow.stamped(512 * sector, 512)
            ata.start_write(sector, data)
            if EVENTS[event] == "flush":
                ata.wait()
                ata.start_flush()
            vm.wait_event("STOP")
            assert ata.is_waiting, (
                f"{event}: the guest's {EVENTS[event]} ended while the machine was stopped"
            )
            vm.qmp("cont")
            ata.wait()
            ata.flush()
            disk.shadow.write(512 * sector, data)
            expect_same(ata.read(sector), data, f"{event}: sector {sector}, read by the guest")
        expect_equal(
            qemu_img.json("check", disk.filename).get("corruptions", 0),
            0,
            f"{event}: corruptions that qemu-img check finds",
        )
    disk.verify()
