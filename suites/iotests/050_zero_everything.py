"""This case checks that the whole disk can be zeroed in one command and written again.

How: `write -z` from 0 to the end with unmap and without, each after a fill; all must read zero.
Guards: write-zeroes-noop, limits-zero-or-excessive, last-block-overrun.
"""

from qbdcheck.kit import case


@case(groups="rw quick zero", requires="write_zeroes", formats="any")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for unmap in (False, True):
            io.write_zeroes(0, disk.size, unmap=unmap)
            io.flush()  # an image format keeps its tables to itself until then
            assert not disk.read_all().any()
            for start in range(0, disk.size, 1 << 20):
                io.write(start + 1024, 66000)
    disk.verify()
