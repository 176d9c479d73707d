"""This case checks that a discard of any start and length changes no byte outside its range.

How: a raw client sends the discards, because QEMU splits them. A sweep of odd starts and lengths
(rounded to the minimum block) goes to separate prefilled ranges of 64 KiB. Then all sectors are
compared.
Guards: discard-overreach.
Related: unaligned-offset-rounded.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import widened

EDGES = (1, 511, 512, 513, 4095, 4097)


@case(
    groups="discard quick protocol",
    requires="raw_requests discard",
    basis=("MUST: NBD, NBD_CMD_TRIM", "POLICY: discard-old-or-zero"),
)
def test(disk, nbd_io):
    spot = 0
    with nbd_io(disk) as io:
        minimum = io.block_sizes[0]
        for start in EDGES:
            for length in (*EDGES, 20001, 50000):
                io.discard(*widened(spot + start, length, minimum))
                spot += 64 << 10
    disk.verify()
