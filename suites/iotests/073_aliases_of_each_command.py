"""This case checks that no command wraps an offset at 2^31, 2^32, 2^40, 2^41 or 2^43.

How: stamps at block 0 and at its alias for each power. Each command goes to the aliases, and block
0 must not change; then the other way round.
Guards: offset-32bit-wrap, wrong-volume-or-lun.
"""

from qbdcheck.kit import case

ALIASES = tuple(1 << bits for bits in (31, 32, 40, 41, 43))


@case(groups="size discard zero", requires="write_zeroes discard")
def test(new_disk, qemu_io):
    disk = new_disk((1 << 43) + (1 << 20), prefill=False)
    with qemu_io(disk) as io:
        for start in (0, *ALIASES):
            io.write(start, 16384)
        for start in ALIASES:
            io.write(start + 4096, 4096)
            io.write_zeroes(start + 8192, 4096, unmap=True)
            io.discard(start + 12288, 4096)
            io.read(0, 16384)
        io.write_zeroes(0, 4096)
        io.discard(4096, 4096)
        for start in (0, *ALIASES):
            io.read(start, 16384)
    disk.verify()
