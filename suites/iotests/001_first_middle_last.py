"""This case checks that the first, middle and last bytes of a disk can be written and read back.

How: one sector and one byte are written and read at each of the three places. Then every sector of
the disk is compared.
Related: misdirected-write, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for offset in (0, disk.size // 2, disk.size - 512):
            io.write(offset, 512)
            io.read(offset, 512)
        for offset in (0, disk.size // 2, disk.size - 1):
            io.write(offset, 1, pattern=0xA5)
            expect_equal(io.read(offset, 1), b"\xa5", f"byte {offset}")
    disk.verify()
