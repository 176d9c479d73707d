"""This case checks that without a minimum block size each byte can be written and read alone.

How: offsets and lengths that are multiples of nothing, across sector and page boundaries, next to
each other. Nothing but these bytes may change.
Guards: unaligned-offset-rounded.
Related: sector-unit-mismatch.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd_probe import connected

SHAPES = ((0, 1), (1, 1), (511, 2), (513, 510), (4095, 1), (4095, 4098), (65535, 3), (70001, 12345))


@case(
    groups="protocol rw",
    requires="nbd raw_size",
    basis=("MUST: NBD, Block size constraints", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk):
    with connected(disk) as io:
        if io.block_sizes[0] > 1:
            raise NotRun(f"the server has a minimum block of {io.block_sizes[0]} bytes")
        for offset, length in (*SHAPES, (disk.size - 1, 1), (disk.size - 777, 777)):
            io.write(offset, length)
            io.read(offset, length)
        for offset, length in SHAPES:
            io.read(max(0, offset - 3), length + 7)
    disk.verify()
