"""This case checks that volumes above 2 TiB reach sectors whose number needs more than 32 bits.

How: stamps at both sides of 2^41 bytes and at the aliases of each at 0, written and zeroed.
Guards: offset-32bit-wrap, sector-unit-mismatch, size-int-overflow.
"""

from qbdcheck.kit import case

EDGE = 1 << 41


@case(groups="size quick")
def test(new_disk, qemu_io):
    disk = new_disk(EDGE + (16 << 20), prefill=False)
    with qemu_io(disk) as io:
        for start in (0, 8192, 1 << 20):
            io.write(start, 4096)
            io.write(EDGE + start, 4096)
        io.write(EDGE - 4096, 8192)
        io.write_zeroes(EDGE + 8192, 4096, unmap=True)
        io.discard(EDGE + (1 << 20), 4096)
        for start in (0, 8192, 1 << 20):
            io.read(start, 4096)
        io.write(disk.size - 512, 512)
    disk.verify()
