"""This case checks that the largest request that a server advertises by default really works.

How: a write and a read of the advertised maximum, at most 32 MiB, at offset 0 and at the fourth
minimum block.
Guards: limits-zero-or-excessive, payload-not-drained, iov-offset-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content
from qbdcheck.kit.nbd_requests import read_range, write_stamped


@case(groups="blocksize rw protocol", requires="nbd")
def test(new_disk, nbd):
    disk = new_disk("40M", prefill=False)
    with nbd(disk) as client:
        minimum, _, maximum = client.block_sizes or (512, 4096, 32 << 20)
        length = min(maximum, 32 << 20) // minimum * minimum
        for offset in (0, minimum * 3):
            write_stamped(client, disk.shadow, offset, length)
            expect_content(disk.shadow, offset, read_range(client, offset, length), "the data")
    disk.verify()
