"""This case checks that a preferred block size is advertised as it was set, byte for byte.

How: preferred sizes whose bytes differ, on the wire, and unaligned writes by QEMU.
Guards: config-byteswapped.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.expectations import expect_equal


@case(groups="blocksize protocol", requires="nbd", basis="MUST: NBD, Block size constraints")
def test(new_disk, nbd, qemu_io, target):
    for preferred in (4096 * target.scale, 1 << 17, 1 << 20):
        disk = new_disk("4M", preferred_block=preferred)
        with nbd(disk) as client:
            if client.block_sizes is None:
                raise NotRun("the server advertises no block sizes")
            expect_equal(client.block_sizes[1], preferred, "the preferred block size")
        with qemu_io(disk) as io:
            io.write(12345, 54321)
        disk.verify()
