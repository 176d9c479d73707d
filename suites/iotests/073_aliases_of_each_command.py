"""This case checks that no command wraps an offset at 2^31, 2^32, 2^40, 2^41 or 2^43.

How: stamps at block 0 and at its alias for each power. Each command goes to the aliases, and block
0 must not change; then the other way round. If the target makes no such volume, the powers below
its largest size are used.
Guards: offset-32bit-wrap.
Related: wrong-volume-or-lun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.volume_limits import first_possible

BITS = (31, 32, 40, 41, 43)


@case(
    groups="size discard zero",
    requires="write_zeroes discard",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "MUST: NBD, NBD_CMD_TRIM", "MUST: NBD, NBD_CMD_READ"),
)
def test(qemu_io, target, log):
    sizes = [(1 << bits) + (1 << 20) for bits in (*reversed(BITS), 29)]
    disk = first_possible(target, sizes, log)
    aliases = [1 << bits for bits in (29, *BITS) if 1 << bits < disk.size]
    with qemu_io(disk) as io:
        for start in (0, *aliases):
            io.write(start, 16384)
        for start in aliases:
            io.write(start + 4096, 4096)
            io.write_zeroes(start + 8192, 4096, unmap=True)
            io.discard(start + 12288, 4096)
            io.read(0, 16384)
        io.write_zeroes(0, 4096)
        io.discard(4096, 4096)
        for start in (0, *aliases):
            io.read(start, 16384)
    disk.verify()
