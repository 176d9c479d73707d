"""This case checks that writes smaller than the blocks of the volume work, and harm no neighbour.

How: the volume can only write whole blocks of 4096 bytes. The driver must report it
(bl.request_alignment), so that QEMU reads and writes around smaller requests, also those in flight
together in one block.
Guards: min-block-underadvertised, limits-zero-or-excessive.
"""

from qbdcheck.kit import case


@case(
    groups="blocksize concurrent",
    requires="own_driver min_block",
    limit_s=30,
    basis="MUST: NBD, Block size constraints",
)
def test(new_disk, qemu_io):
    disk = new_disk("1M", min_block=4096)
    with qemu_io(disk) as io:
        for offset, length in ((0, 512), (1024, 100), (4000, 200), (65536 - 1, 2), (70_000, 9000)):
            io.write(offset, length)
            io.read(offset - offset % 4096, 16384)
        io.write_zeroes(131_072 + 600, 5000)
        for number in range(32):
            io.aio_write(262_144 + number * 512, 512)
        io.drain()
        io.flush()
    disk.verify()
