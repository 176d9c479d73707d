"""This case checks that volumes just below, at and above 2 GiB work to their last byte.

How: writes at 0, on both sides of 2^31 and at the end. All of it is read by a second open and
verified. The sizes are multiples of the unit in which the target makes volumes.
Guards: offset-32bit-wrap, size-int-overflow.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import size_unit

EDGE = 1 << 31


@case(groups="size")
def test(new_disk, qemu_io, target):
    unit = size_unit(target)
    for size in (EDGE - unit, EDGE, EDGE + unit, EDGE + max(unit, 1 << 20)):
        disk = new_disk(size, prefill=False)
        with qemu_io(disk) as io:
            for start in {0, EDGE - 8192, EDGE - 512, EDGE, size - 4096}:
                if start + 4096 <= size:
                    io.write(start, 4096)
        with qemu_io(disk, read_only=True) as io:
            io.read(size - 8192, 8192)
            io.read(0, 8192)
        disk.verify()
