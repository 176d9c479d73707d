"""This case checks that QEMU refuses snapshots of a disk that it does not own yet.

How: a machine waits for a migration, so its disk is inactive. It is asked to save, load and delete
an internal snapshot of the disk. Each is refused with an error, QEMU lives, and neither the disk
nor the snapshot that it had changes.
Related: snapshot-not-point-in-time.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_equal, expect_in, expect_sound


@case(
    groups="device snapshot qcow2 errors quick",
    programs="qemu-system-x86_64",
    basis="MUST: QAPI, snapshot-load",
)
def test(new_disk, machine, qemu_io, qemu_img):
    disk = new_disk("1M", format="qcow2")
    qemu_img("snapshot", "-c", "kept", disk.filename)
    before = qemu_img.json("info", disk.filename)["snapshots"]
    with qemu_io(disk) as io:
        io.write(4096, 70_000)
    node = json_filename(disk.blockdev("disk")).removeprefix("json:")
    with machine("-incoming", "defer", "-blockdev", node) as vm:
        for command in ("savevm new", "savevm kept", "loadvm kept", "delvm kept"):
            expect_in("Error", vm.hmp(command), f"the answer to {command} with an inactive disk")
        expect_equal(vm.qmp("query-status")["status"], "inmigrate", "the status of the machine")
    after = qemu_img.json("info", disk.filename)["snapshots"]
    expect_equal(after, before, "the snapshots in the image")
    disk.verify()
    expect_sound(qemu_img, disk.filename)
