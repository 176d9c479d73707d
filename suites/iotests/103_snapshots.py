"""This case checks that internal snapshots keep the data of their time, and restore it.

How: three snapshots are created and listed, each is applied, and the middle one is deleted. Each
time the image is compared with what it contained at that time.
Related: snapshot-not-point-in-time, snapshot-delete-shared-block, snapshot-map-under-io.
"""

import copy

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_in, expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(
    groups="img snapshot qcow2", basis=("MUST: qemu-img(1), snapshot", "MUST: QEMU, interop/qcow2")
)
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("2M", format="qcow2")
    moments = {}
    for number, name in enumerate(("first", "second", "third")):
        qemu_img("snapshot", "-c", name, disk.filename)
        moments[name] = copy.deepcopy(disk.shadow)
        with qemu_io(disk) as io:
            io.write(300 * KIB * number + 100, 200 * KIB)
            io.write_zeroes(MIB + 65 * KIB * number, 65 * KIB)
            io.discard(MIB + 512 * KIB, 64 * KIB)
    disk.verify()
    now = disk.shadow
    qemu_img("snapshot", "-c", "now", disk.filename)
    for name in ("first", "third", "second", "now"):
        qemu_img("snapshot", "-a", name, disk.filename)
        disk.shadow = moments.get(name, now)
        disk.verify()
    qemu_img("snapshot", "-d", "second", disk.filename)
    disk.verify()
    listed = qemu_img("snapshot", "-l", disk.filename)  # its columns differ between versions
    for one in qemu_img.json("info", disk.filename)["snapshots"]:
        golden(one["id"], one["name"], one["vm-state-size"])
        expect_in(f" {one['name']} ", listed, "qemu-img snapshot -l")
    assert " second " not in listed, f"qemu-img snapshot -l lists the deleted snapshot: {listed}"
    golden(qemu_img.fails("snapshot", "-a", "second", disk.filename).rpartition(": ")[2])
    for name in ("first", "third"):
        qemu_img("snapshot", "-a", name, disk.filename)
        disk.shadow = moments[name]
        disk.verify()
    expect_sound(qemu_img, disk.filename)
