"""This case checks that long requests of any alignment reach each byte, up to the maximum.

How: reads and writes of exactly the largest size, of 4 to 7 MiB that are unaligned at one or both
ends, that end at the end of the volume, or that cross a multiple of 1 GiB; and small writes
directly behind long ones, at places that the long ones have just written. At the end more than
2 GiB are zeroed at once.
Guards: vectored-tail-dropped, bounce-size-without-head, short-write-not-continued,
exact-maximum-refused, chunk-receive-overwrites, deferred-write-overtaken, map-index-wraps,
zeroes-length-31-bit.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

MIB, GIB = 1 << 20, 1 << 30
SIZE = 3 * GIB
LENGTHS = (4 * MIB + 1024, 6 * MIB + 512)


@case(
    groups="rw size zero quick",
    requires="raw_requests",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, Block size constraints"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE, prefill=False)
    random = seed.stream("places")
    with nbd_io(disk) as io:
        minimum, _, largest = io.block_sizes
        largest = min(largest, 32 * MIB)
        starts = [512, 64 * MIB + 1536, GIB - 2 * MIB - 512, 2 * GIB - 4096 - 512]
        for start in starts:
            for length in LENGTHS:
                at, length_ = widened(start, min(length, largest - 8192), minimum)
                io.write(at, length_)
                small = widened(at + random.randrange(length_ - 4096), 512, minimum)
                io.write(*small)
                io.read(*small)
            io.read(at, length_)
        for edge in range(65 * MIB, 66 * MIB, 65536):
            io.write(*widened(edge - 1024, 2048, minimum))
        for at in (0, *([512] if minimum <= 512 else [])):
            io.write(at, largest)
            io.read(at, largest)
        io.write(*widened(SIZE - 300_000, 100_000, minimum))
        for length in (100_000, MIB, 2 * MIB):
            io.read(*widened(128 * MIB, length, minimum))
            start = widened(SIZE - length, length, minimum)[0]
            io.read(start, SIZE - start)
        io.read(64 * MIB, largest)
        if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            io.write_zeroes(0, 2 * GIB + 8192)
            for at in (0, 64 * MIB, GIB - 2 * MIB, 2 * GIB - 65536):
                io.read(at, 2 * MIB)
