"""This case checks that a failed snapshot-save leaves no partial snapshot in the image.

How: snapshot-save of a running machine's qcow2 with errors while the state and its tables are
written. If the job fails, the snapshot must not exist. The disk must work on.
Guards: close-error-lost.
Related: snapshot-map-under-io, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import QmpFailed, case
from qbdcheck.kit.ata_disk import ata_machine
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import over
from qbdcheck.kit.expectations import expect_same


@case(groups="inject errors device snapshot qcow2 slow", basis="MUST: QAPI, snapshot-save")
def test(new_disk, machine, qemu_img, scratch):
    disk = new_disk("8M", prefill=False, format="qcow2")
    failures = 0
    for event in ("vmstate_save", "l1_grow_write_table", "l2_alloc_write"):
        rule = error(event, EIO, iotype="write", once=True)
        image = over("qcow2", blkdebug(disk.protocol_blockdev(), rule), "disk")
        with ata_machine(machine, scratch, image) as (vm, ata):
            data = disk.shadow.stamped(512, 512)
            ata.write(1, data)
            disk.shadow.write(512, data)
            save = {"job_id": "job", "tag": event, "vmstate": "disk", "devices": ["disk"]}
            try:
                vm.qmp("snapshot-save", **save)
                vm.wait_job("job")
            except QmpFailed:
                failed = True
            else:
                failed = False
            there = {one["name"] for one in snapshots(vm)}
            assert (event in there) != failed, (
                f"{event}: the job failed is {failed}, the snapshots are {sorted(there)}"
            )
            failures += failed
            expect_same(ata.read(1), data, "sector 1, read by the guest")
            ata.write(2, data)
            disk.shadow.write(1024, data)
        image_check = qemu_img.run("check", "-q", disk.filename, check=False)
        assert image_check.returncode in {0, 3}, f"qemu-img check: {image_check.stderr}"
    assert failures >= 1, "expected at least one failed save, got none"
    disk.verify()


def snapshots(vm):
    """Return the snapshots of the image as QEMU sees them."""
    for one in vm.qmp("query-named-block-nodes"):
        if one["node-name"] == "disk":
            return one["image"].get("snapshots", [])
    raise AssertionError("query-named-block-nodes has no node named disk")
