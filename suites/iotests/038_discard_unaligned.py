"""This case checks that a discard of any start and length changes no byte outside its range.

How: a raw client sends the discards, because QEMU splits them. A sweep of odd starts and lengths
(rounded to the minimum block) goes to separate prefilled ranges of 64 KiB. Then all sectors are
compared.
Guards: discard-overreach, unaligned-offset-rounded.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import block_sizes, widened

EDGES = (1, 511, 512, 513, 4095, 4097)


@case(groups="discard quick protocol", requires="nbd discard")
def test(disk, nbd):
    spot = 0
    with nbd(disk) as client:
        minimum = block_sizes(client).minimum
        for start in EDGES:
            for length in (*EDGES, 20001, 50000):
                offset, count = widened(spot + start, length, minimum)
                client.trim(offset, count)
                disk.shadow.discard(offset, count)
                spot += 64 << 10
    disk.verify()
