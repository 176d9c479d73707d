"""This case checks that the data of a client that disconnects without a flush is kept.

How: QEMU flushes whenever it closes a disk, so raw clients connect one after the other, write and
disconnect. The power stays on, so each client must find what was acknowledged before.
Guards: close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import widened


@case(
    groups="rw quick flush protocol",
    requires="raw_requests",
    basis="POLICY: answered-writes-outlive-their-connection",
)
def test(disk, nbd_io):
    for number in range(8):
        with nbd_io(disk) as io:
            minimum = io.block_sizes[0]
            for offset in ((number - 1) % 8 * 1_000_003, 6 << 20):
                io.read(*widened(offset, 9000, minimum))
            for offset in (number * 1_000_003, 6 << 20):
                io.write(*widened(offset, 9000, minimum))
    disk.verify()
