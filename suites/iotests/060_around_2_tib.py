"""This case checks that volumes above 2 TiB reach sectors whose number needs more than 32 bits.

How: stamps on both sides of 2^41 bytes and at the alias of each near 0, written and zeroed. If the
target makes no such volume, the largest power of two that it makes takes the place of 2^41.
Guards: offset-32bit-wrap, size-int-overflow.
Related: sector-unit-mismatch.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import first_possible

MIB = 1 << 20


@case(groups="size quick", basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_WRITE"))
def test(qemu_io, target, log):
    disk = first_possible(target, [(1 << bits) + 16 * MIB for bits in range(41, 24, -2)], log)
    edge = disk.size - 16 * MIB
    with qemu_io(disk) as io:
        for start in (0, 8192, 1 << 20):
            io.write(start, 4096)
            io.write(edge + start, 4096)
        io.write(edge - 4096, 8192)
        io.write_zeroes(edge + 8192, 4096, unmap=True)
        io.discard(edge + (1 << 20), 4096)
        for start in (0, 8192, 1 << 20):
            io.read(start, 4096)
        io.write(disk.size - 512, 512)
    disk.verify()
