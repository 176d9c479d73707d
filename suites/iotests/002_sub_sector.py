"""This case checks that writes of less than a sector change exactly their bytes.

How: all places and lengths within one sector that an off-by-one error would get wrong, each in a
sector of its own. A target that rounds offsets or lengths damages the other bytes of the sector.
Guards: unaligned-offset-rounded, min-block-underadvertised, phantom-write.
"""

from qbdcheck.kit import case


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    sector = 8
    with qemu_io(disk) as io:
        for start in (0, 1, 7, 255, 256, 510, 511):
            for length in (1, 2, 3, 255, 256, 511):
                if start + length <= 512:
                    io.write(sector * 512 + start, length)
                    sector += 3
    disk.verify()
