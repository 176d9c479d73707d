"""This case checks that zeroing less than a sector keeps the other bytes of the sector.

How: 1 to 511 bytes at the start, middle and end of a sector, and across two sectors, are zeroed in
prefilled data.
Guards: zero-via-nondeterministic-discard.
Related: unaligned-offset-rounded, discard-overreach.
"""

from qbdcheck.kit import case


@case(
    groups="rw quick zero",
    requires="write_zeroes",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        spot = 0
        for start in (0, 1, 255, 510, 511):
            for length in (1, 2, 100, 511):
                for unmap in (False, True):
                    io.write_zeroes(spot + start, length, unmap=unmap)
                    io.read(spot, 1536)
                    spot += 4096
    disk.verify()
