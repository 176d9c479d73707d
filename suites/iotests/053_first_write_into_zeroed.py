"""This case checks that first writes of a few bytes into zeroed blocks leave zeroes around them.

How: writes of several starts and lengths inside blocks of 4 KiB and 64 KiB that were zeroed with
unmap. The rest of the block must read as zeroes, not as what was there before.
Related: previous-tenant-data, alloc-map-rounding-reads-zero, clone-copyup-lost.
"""

from qbdcheck.kit import case


@case(
    groups="rw zero",
    requires="write_zeroes",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for number in range(7):
            block = number << 20
            io.write_zeroes(block, 1 << 20, unmap=True)
            for place, start in enumerate((0, 1, 511, 512, 4095, 32768, 65535)):
                io.write(block + (place << 17) + start, 1 + number * 700)
            io.read(block, 65536)
    disk.verify()
