"""This case checks that a snapshot can be read while the image above it has moved on.

How: convert reads snapshots by name and by id, and raw data of the image itself; each must be that
of its moment, although clusters were rewritten, zeroed, discarded and the image resized.
Guards: snapshot-not-point-in-time, snapshot-delete-shared-block, grow-exposes-old-data.
"""

import copy

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="format qcow2 snapshot convert")
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
            assert shadow.check(0, data[: shadow.size]) == [], which
            assert not any(data[shadow.size :]), which
    disk.verify()
    assert "No errors were found" in qemu_img("check", disk.filename)
