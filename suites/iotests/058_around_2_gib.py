"""This case checks that volumes just below, at and above 2 GiB work to their last byte.

How: writes at 0, on both sides of 2^31 and at the end. All of it is read by a second open and
verified. The sizes are multiples of the unit in which the target makes volumes. If it makes none of
2 GiB, a smaller power of two is used.
Related: offset-32bit-wrap, size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import first_possible, size_unit

MIB = 1 << 20


@case(groups="size", basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_WRITE"))
def test(new_disk, qemu_io, target, log):
    unit = size_unit(target)
    more = max(unit, MIB)
    edge = (
        first_possible(target, [(1 << bits) + more for bits in (31, 30, 29, 28)], log).size - more
    )
    for size in (edge - unit, edge, edge + unit, edge + more):
        disk = new_disk(size, prefill=False)
        with qemu_io(disk) as io:
            for start in {0, edge - 8192, edge - 512, edge, size - 4096}:
                if start + 4096 <= size:
                    io.write(start, 4096)
        with qemu_io(disk, read_only=True) as io:
            io.read(size - 8192, 8192)
            io.read(0, 8192)
        disk.verify()
