"""This case checks that the block sizes that a server advertises by default are valid and work.

How: powers of two, in order, within the limits of the protocol. The smallest request that they
allow must work at the start, in the middle and at the end of the volume.
Guards: min-block-underadvertised, config-byteswapped, limits-zero-or-excessive.
"""

from qbdcheck.kit import case


@case(groups="blocksize quick protocol", requires="nbd", basis="MUST: NBD, Block size constraints")
def test(disk, nbd_io, log):
    with nbd_io(disk) as io:
        sizes = io.client.block_sizes
        log(f"block sizes: {sizes}")
        # Without this information the protocol assumes a minimum of 1 or 512, and prefers 4096.
        minimum, preferred, maximum = sizes or (512, 4096, 32 << 20)
        assert minimum and not minimum & (minimum - 1), f"minimum {minimum} is no power of two"
        assert preferred and not preferred & (preferred - 1), (
            f"preferred {preferred} is no power of two"
        )
        assert minimum <= 65536, f"minimum {minimum} is above 64 KiB"
        assert max(512, minimum) <= preferred, f"preferred {preferred} is below {minimum}"
        assert maximum >= preferred, f"maximum {maximum} is below preferred {preferred}"
        for offset in (0, disk.size // 2, disk.size - minimum):
            io.write(offset, minimum)
            io.read(offset, minimum)
    disk.verify()
