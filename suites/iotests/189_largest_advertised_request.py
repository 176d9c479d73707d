"""This case checks that the largest request that a server advertises by default really works.

How: a write and a read of the advertised maximum, at most 32 MiB, at offset 0 and at the fourth
minimum block.
Guards: limits-zero-or-excessive, iov-offset-ignored.
Related: payload-not-drained.
"""

from qbdcheck.kit import case


@case(groups="blocksize rw protocol", requires="nbd", basis="MUST: NBD, Block size constraints")
def test(new_disk, nbd_io):
    disk = new_disk("40M", prefill=False)
    with nbd_io(disk) as io:
        minimum, _, maximum = io.client.block_sizes or (512, 4096, 32 << 20)
        length = min(maximum, 32 << 20) // minimum * minimum
        for offset in (0, minimum * 3):
            io.write(offset, length)
            io.read(offset, length)
    disk.verify()
