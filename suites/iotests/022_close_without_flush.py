"""This case checks that the data of a client that disconnects without a flush is kept.

How: QEMU flushes whenever it closes a disk, so raw clients connect one after the other, write and
disconnect. The power stays on, so each client must find what was acknowledged before.
Guards: close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import block_sizes, expect_read, widened, write_stamped


@case(groups="rw quick flush protocol", requires="nbd")
def test(disk, nbd):
    for number in range(8):
        with nbd(disk) as client:
            minimum = block_sizes(client).minimum
            for offset in ((number - 1) % 8 * 1_000_003, 6 << 20):
                expect_read(client, disk.shadow, *widened(offset, 9000, minimum))
            for offset in (number * 1_000_003, 6 << 20):
                write_stamped(client, disk.shadow, *widened(offset, 9000, minimum))
    disk.verify()
