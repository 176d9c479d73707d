"""This case checks that the whole disk can be zeroed by one command and written again.

How: `write -z` from 0 to the end, with and without unmap, each time after the disk was filled. All
must read as zeroes.
Guards: write-zeroes-noop, limits-zero-or-excessive, last-block-overrun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_zeroes


@case(
    groups="rw quick zero",
    requires="write_zeroes",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, qemu_io):
    for unmap in (False, True):
        with qemu_io(disk) as io:
            io.write_zeroes(0, disk.size, unmap=unmap)
        # closed: QEMU locks the file of an image while it is open for writing
        expect_zeroes(disk.read_all(), f"the whole disk after write -z, unmap {unmap}")
        with qemu_io(disk) as io:
            for start in range(0, disk.size - 68 * 1024, 1 << 20):
                io.write(start + 1024, 66000)
    disk.verify()
