"""This case checks that a snapshot can be read while the image has changed since.

How: convert reads snapshots by name and by id. Each must contain the data of its time, although
clusters were rewritten, zeroed and discarded, and the image was resized.
Related: snapshot-not-point-in-time, snapshot-delete-shared-block, grow-exposes-old-data.
"""

import copy

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_sound, expect_zeroes

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format qcow2 snapshot convert", basis="MUST: QEMU, interop/qcow2")
def test(new_disk, qemu_io, qemu_img, scratch):
    disk = new_disk("1M", format="qcow2")
    moments = []
    for number in range(3):
        qemu_img("snapshot", "-c", f"moment{number}", disk.filename)
        moments.append(copy.deepcopy(disk.shadow))
        with qemu_io(disk) as io:
            io.write(200 * KIB * number + 11, 333 * KIB)
            io.write_zeroes(64 * KIB * number, 64 * KIB)
            io.discard(MIB - 64 * KIB * (number + 1), 64 * KIB)
        if number == 1:
            disk.resize(MIB + 512 * KIB)
    read = scratch / "read"
    for number, shadow in enumerate(moments):
        for which in (f"snapshot.name=moment{number}", f"snapshot.id={number + 1}"):
            qemu_img("convert", "-l", which, "-O", "raw", disk.filename, read)
            data = read.read_bytes()
            expect_content(shadow, 0, data[: shadow.size], which)
            expect_zeroes(data[shadow.size :], f"{which} behind the snapshot's end")
    disk.verify()
    expect_sound(qemu_img, disk.filename)
