"""This case checks that a discard of any start and length touches no byte outside of it.

How: on the wire, since QEMU splits discards before it sends them: a sweep of odd starts and lengths
each in its own prefilled 64 KiB, then all sectors are looked at.
Guards: discard-overreach, unaligned-offset-rounded.
"""

from qbdcheck.kit import case

EDGES = (1, 511, 512, 513, 4095, 4097)


@case(groups="discard quick protocol", requires="nbd discard")
def test(disk, nbd_io):
    spot = 0
    with nbd_io(disk) as io:
        for start in EDGES:
            for length in (*EDGES, 20001, 50000):
                io.discard(spot + start, length)
                spot += 64 << 10
        assert spot <= disk.size
    disk.verify()
