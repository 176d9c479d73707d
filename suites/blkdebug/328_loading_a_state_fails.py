"""This case checks that a failed snapshot-load harms neither the disk nor the snapshot.

How: snapshot-save of a machine with a qcow2 disk, then snapshot-load with an error while the state
is read. The job must fail. Afterwards the snapshot must load, with the disk of its time.
Related: snapshot-not-point-in-time, missing-object-zero-fill, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_failure, expect_same


@case(groups="inject errors device snapshot qcow2", basis="MUST: QAPI, snapshot-load")
def test(new_disk, machine, qemu_img, scratch):
    disk = new_disk("8M", prefill=False, format="qcow2")
    rule = error("vmstate_load", EIO, iotype="read", once=True)
    image = over("qcow2", blkdebug(disk.protocol_blockdev(), rule), "disk")
    state = {"job_id": "job", "tag": "kept", "vmstate": "disk", "devices": ["disk"]}
    with ata_machine(machine, scratch, image) as (vm, ata):
        data = disk.shadow.stamped(512, 512)
        ata.write(1, data)
        disk.shadow.write(512, data)
        vm.qmp("snapshot-save", **state)
        vm.wait_job("job")
        ata.write(1, bytes(512))
        vm.qmp("snapshot-load", **state)
        with expect_failure(QmpFailed, "snapshot-load with an unreadable state"):
            vm.wait_job("job")
        vm.qmp("stop")
        vm.qmp("snapshot-load", **state)
        vm.wait_job("job")
        vm.qmp("cont")
        expect_same(ata.read(1), data, "sector 1 after snapshot-load, read by the guest")
    done = qemu_img.run("check", "-q", disk.filename, check=False)
    assert done.returncode in {0, 3}, f"qemu-img check: {done.stderr}"
    disk.verify()
