"""This case checks that qemu-img refuses to resize a raw volume over NBD, and changes nothing.

How: the error texts are in the golden, and neither size nor data may change. Then the target's own
resize grows the volume with zeroes, and shrinks it without touching what stays.
Guards: resize-false-success, grow-exposes-old-data, resize-not-notified.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_size
from qbdcheck.kit.volume_limits import size_unit

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img size", requires="nbd resize", basis="MUST: qemu-img(1), resize")
def test(new_disk, qemu_io, qemu_img, golden, target):
    unit = size_unit(target)
    disk = new_disk("2M")
    for size in ("3M", "+1k"):
        golden(qemu_img.fails("resize", disk.filename, size))
    golden(qemu_img.fails("resize", disk.filename, "1M"))
    golden(qemu_img.fails("resize", "--shrink", disk.filename, "1M"))
    expect_size(qemu_img, disk.filename, 2 * MIB)
    disk.verify()
    for size in (3 * MIB, MIB + unit, 2 * MIB):
        disk.resize(size)
        expect_size(qemu_img, disk.filename, size)
        disk.verify()
        with qemu_io(disk) as io:
            io.write(size - 4096, 4096)
    disk.verify()
