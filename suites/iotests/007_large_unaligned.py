"""This case checks that large requests at odd offsets keep each byte in its place.

How: long writes that start or end within a sector. A layer that splits or pads them needs the right
position in the buffer for every part.
Guards: iov-offset-ignored, unaligned-offset-rounded, short-read-resume-offset.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="rw", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        io.write(1, 2 * MIB)
        io.write(2 * MIB + 511, 1 * MIB + 2)
        io.write(4 * MIB - 3, 700 * KIB + 7)
        io.write(5 * MIB + 256, 3 * MIB - 257)
        io.read(100 * KIB + 13, 200 * KIB + 1)
        io.read(5 * MIB - 1, 130 * KIB)
    disk.verify()
