"""This case checks that volumes around 4 GiB never confuse an offset with that offset minus 4 GiB.

How: different stamps at X and X + 4 GiB, written in both orders, and single requests across 4 GiB.
Guards: offset-32bit-wrap, size-int-overflow.
"""

from qbdcheck.kit import case

EDGE = 1 << 32


@case(groups="size quick")
def test(new_disk, qemu_io):
    disk = new_disk(EDGE + (64 << 20), prefill=False)
    with qemu_io(disk) as io:
        for number, start in enumerate((0, 4096, 1 << 20, 33 << 20)):
            first, second = (start, start + EDGE) if number % 2 else (start + EDGE, start)
            io.write(first, 4096)
            io.write(second, 4096)
            io.read(first, 4096)
        io.write(EDGE - (1 << 20), 2 << 20)
        io.write_zeroes(EDGE - 4096, 12288, unmap=True)
        io.read(0, 8192)
    disk.verify()
