"""This case checks that `qemu-img convert` copies holes, zeroes and data of a volume exactly.

How: convert relies on the block status of the volume and reads only what it reports as data. The
copy is compared with what was written, not with the volume.
Guards: extents-unsorted.
Related: status-hole-over-dirty, malformed-extents, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img convert quick", formats="any", basis="MUST: qemu-img(1), convert")
def test(disk, qemu_io, qemu_img, scratch):
    with qemu_io(disk) as io:
        io.write_zeroes(1 * MIB, 512 * KIB, unmap=True)
        io.write_zeroes(2 * MIB + 512, 64 * KIB)
        io.write(2 * MIB + 4 * KIB, 1 * KIB)
        io.write_zeroes(4 * MIB - 3, 777)
        io.write_zeroes(6 * MIB, 2 * MIB, unmap=True)
        io.write(8 * MIB - 512, 512)
    copy = scratch / "copy"
    qemu_img("convert", "-O", "raw", disk.filename, copy)
    expect_content(disk.shadow, 0, copy.read_bytes(), "the copy", disk.size)
    disk.verify()
