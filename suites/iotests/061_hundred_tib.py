"""This case checks that a volume of 100 TiB can be made and written, and aliases no offset.

How: a stamp on both sides of 0 and of every power of two from 2^31 to 2^46. All must stay apart,
and the last block of the volume must work. If the target makes no volume of 100 TiB, the largest
power of two that it makes is used.
Guards: offset-32bit-wrap, size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import first_possible

SIZES = (100 << 40, *(1 << bits for bits in range(46, 22, -2)))


@case(groups="size quick", basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_WRITE"))
def test(qemu_io, target, log):
    disk = first_possible(target, SIZES, log)
    places = [0, disk.size - 4096]
    for bits in range(min(31, disk.size.bit_length() - 4), 47):
        if 1 << bits < disk.size - 4096:
            places += [(1 << bits) - 4096, 1 << bits]
    with qemu_io(disk) as io:
        for start in places:
            io.write(start, 4096)
        for start in places:
            io.read(start, 4096)
        io.discard(places[-1], 4096)
        io.write_zeroes(places[-2], 4096)
        for start in places:
            io.read(start, 4096)
