"""This case checks that an image amended under a snapshot keeps the data of the snapshot.

How: a snapshot shares zero clusters with the image, and amend to compat=0.10 has to turn them into
data. QEMU 7.2 leaves them marked as not shared (docs/findings.md), which check finds and repairs.
After that no write to the image may reach the snapshot.
Related: snapshot-delete-shared-block, snapshot-not-point-in-time, zero-flags-lost.
"""

import copy

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_in, expect_sound

KIB = 1 << 10


@case(groups="img snapshot qcow2", basis=("MUST: qemu-img(1), amend", "MUST: QEMU, interop/qcow2"))
def test(new_disk, qemu_io, qemu_img, log):
    disk = new_disk("1M", format="qcow2")
    with qemu_io(disk) as io:
        io.write_zeroes(128 * KIB, 128 * KIB)
    qemu_img("snapshot", "-c", "kept", disk.filename)
    kept = copy.deepcopy(disk.shadow)
    with qemu_io(disk) as io:
        io.write(300 * KIB, 200 * KIB)
    qemu_img("amend", "-o", "compat=0.10", disk.filename)
    found = qemu_img.run("check", disk.filename, check=False)
    log("check after amend:", found.returncode, found.stderr)
    if found.returncode:
        expect_in("OFLAG_COPIED data cluster", found.stderr, "qemu-img check after amend")
        qemu_img("check", "-r", "all", disk.filename)
    expect_sound(qemu_img, disk.filename)
    with qemu_io(disk) as io:
        io.write(120 * KIB, 144 * KIB)
    disk.verify()
    qemu_img("snapshot", "-a", "kept", disk.filename)
    disk.shadow = kept
    disk.verify()
