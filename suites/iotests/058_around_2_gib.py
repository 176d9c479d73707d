"""This case checks that volumes just below, at and above 2 GiB work to their last byte.

How: write at 0, at both sides of 2^31, and at the end; verify all of it, twice opened.
Guards: offset-32bit-wrap, size-int-overflow.
"""

from qbdcheck.kit import case

EDGE = 1 << 31


@case(groups="size")
def test(new_disk, qemu_io):
    for size in (EDGE - 512, EDGE, EDGE + 512, EDGE + (1 << 20)):
        disk = new_disk(size, prefill=False)
        with qemu_io(disk) as io:
            for start in {0, EDGE - 8192, EDGE - 512, EDGE, size - 4096}:
                if start + 4096 <= size:
                    io.write(start, 4096)
        with qemu_io(disk, read_only=True) as io:
            io.read(size - 8192, 8192)
            io.read(0, 8192)
        disk.verify()
