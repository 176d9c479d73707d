"""This case checks that a request of exactly the advertised maximum works, and QEMU keeps to it.

How: a maximum of 64 KiB. A raw client sends requests of the maximum and of one block more. Large
requests by qemu-io must be split.
Guards: limits-zero-or-excessive.
Related: split-pool-deadlock, short-read-resume-offset.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import Command


@case(groups="blocksize quick protocol", requires="nbd", basis="MUST: NBD, Block size constraints")
def test(new_disk, nbd_io, qemu_io, target):
    maximum = max(65536, target.preferred_block)
    disk = new_disk(max(4 << 20, 3 * maximum), max_block=maximum)
    with nbd_io(disk) as client:
        if client.client.block_sizes is None:
            raise NotRun("the server advertises no block sizes")
        assert client.block_sizes[2] == maximum, (
            f"expected a maximum of {maximum}, got {client.block_sizes}"
        )
        client.write(4096, maximum)
        client.read(4096, maximum)
        client.attempt(Command.WRITE, 1 << 20, maximum + 4096)
        client.read(1 << 20, maximum)  # the connection must stay usable
        client.flush()
    with qemu_io(disk) as io:
        io.write(1 << 20, (1 << 20) + 512)
        io.write((2 << 20) + 4096 + 1, 999_999)
    disk.verify()
