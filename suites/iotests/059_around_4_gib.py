"""This case checks that volumes around 4 GiB never confuse an offset with that offset minus 4 GiB.

How: different stamps at X and X + 4 GiB, written in both orders, and single requests across 4 GiB.
If the target makes no such volume, a smaller power of two takes the place of 4 GiB.
Guards: offset-32bit-wrap.
Related: size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import first_possible

MIB = 1 << 20


@case(groups="size quick", basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_WRITE"))
def test(qemu_io, target, log):
    disk = first_possible(target, [(1 << bits) + 64 * MIB for bits in (32, 31, 30, 29)], log)
    edge = disk.size - 64 * MIB
    with qemu_io(disk) as io:
        for number, start in enumerate((0, 4096, 1 << 20, 33 << 20)):
            first, second = (start, start + edge) if number % 2 else (start + edge, start)
            io.write(first, 4096)
            io.write(second, 4096)
            io.read(first, 4096)
        io.write(edge - (1 << 20), 2 << 20)
        io.write_zeroes(edge - 4096, 12288, unmap=True)
        io.read(0, 8192)
    disk.verify()
