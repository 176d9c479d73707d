"""This case checks that internal snapshots keep the data of their moment, and give it back.

How: create three, list them, go back to the first, delete the middle one; each time the image is
compared with what it held at that moment.
Guards: snapshot-not-point-in-time, snapshot-delete-shared-block, snapshot-map-under-io.
"""

import copy

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img snapshot qcow2")
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
    golden(qemu_img("snapshot", "-l", disk.filename))
    golden(qemu_img.fails("snapshot", "-a", "second", disk.filename).rpartition(": ")[2])
    for name in ("first", "third"):
        qemu_img("snapshot", "-a", name, disk.filename)
        disk.shadow = moments[name]
        disk.verify()
    assert "No errors were found" in qemu_img("check", disk.filename)
