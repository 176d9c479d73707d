"""This case checks that a guest on a qcow2 image survives a full volume, when there is room again.

How: the volume refuses the image's growth with ENOSPC at several points of an allocating write; the
machine stops, there is room again, cont: the guest's write is done and the image is consistent.
Guards: errno-collapsed, transient-becomes-fatal, thin-alloc-toctou.
"""

from errno import ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import over

EVENTS = {"cluster_alloc": "write", "write_aio": "write", "l2_update": "flush"}
"""An event, and the command of the guest that meets it."""


@case(groups="inject errors device qcow2")
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
            assert ata.is_waiting
            vm.qmp("cont")
            ata.wait()
            ata.flush()
            disk.shadow.write(512 * sector, data)
            assert ata.read(sector) == data
        assert qemu_img.json("check", disk.filename).get("corruptions", 0) == 0
    disk.verify()
