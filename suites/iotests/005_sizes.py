"""This case checks that requests of every size from 1 byte to 1 MiB do what they ask for.

How: each power of two, one less and one more, is written and read at an odd offset and at an even
one.
Guards: unaligned-offset-rounded, short-read-resume-offset, min-block-underadvertised.
"""

from qbdcheck.kit import case

SIZES = sorted({size + more for size in (1 << n for n in range(1, 17)) for more in (-1, 0, 1)})


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for number, size in enumerate(SIZES):
            offset = number * (96 << 10) + (number % 2) * 333
            io.write(offset, size)
            if size <= 8193:
                io.read(offset, size)
        for offset, size in ((5 << 20, (1 << 20) - 1), ((6 << 20) + 1, (1 << 20) + 1)):
            io.write(offset, size)
    disk.verify()
