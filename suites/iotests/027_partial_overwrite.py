"""This case checks that overwriting a part of written data keeps the rest, wherever the part is.

How: every start and end of a write within an 8 KiB block that was written before, and within one
that was not. A block map that rounds the wrong way loses the head or the tail.
Guards: unaligned-offset-rounded.
Related: alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case

BLOCK = 8192
CUTS = (0, 1, 512, 513, 4095, 4096, 4608, 8191)


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, qemu_io):
    written, fresh = new_disk(), new_disk(prefill=False)
    for disk in (written, fresh):
        with qemu_io(disk) as io:
            number = 0
            for start in CUTS:
                for end in (*CUTS[1:], BLOCK):
                    if start < end:
                        io.write(number * 2 * BLOCK + start, end - start)
                        number += 1
        disk.verify()
