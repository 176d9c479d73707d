"""This case checks that an image on a volume grows with zeroes and shrinks only with --shrink.

How: the image grows, is written beyond the old end, is refused a shrink without --shrink, shrinks,
and grows again. What was cut off must not come back. (Within a cluster it does: docs/findings.md.)
Related: grow-exposes-old-data, resize-false-success, size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_size, expect_sound

KIB, MIB = 1 << 10, 1 << 20


@case(
    groups="img size qcow2 quick", basis=("MUST: qemu-img(1), resize", "MUST: QEMU, interop/qcow2")
)
def test(new_disk, qemu_io, qemu_img, golden):
    disk = new_disk("2M", format="qcow2")
    disk.resize(3 * MIB + 64 * KIB)
    disk.verify()
    with qemu_io(disk) as io:
        io.write(2 * MIB - 5, 200_000)
        io.write(disk.size - 512, 512)
    error = qemu_img.fails("resize", disk.filename, "1M")
    golden(error)
    disk.verify()
    disk.resize(MIB + 64 * KIB)
    disk.verify()
    disk.resize(4 * MIB)
    disk.verify()
    expect_size(qemu_img, disk.filename, 4 * MIB)
    golden(qemu_img.fails("resize", disk.filename, "--", "-5M"))
    expect_sound(qemu_img, disk.filename)
