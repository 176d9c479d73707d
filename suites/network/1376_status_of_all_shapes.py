"""This case checks that block status calls no data zero, in whatever shapes data and zeroes lie.

How: allocated zeroes, holes and data next to each other in pieces of 512 bytes to 64 KiB; 150
pieces in one range; ranges that start and end inside blocks. What is reported as zero must read as
zeroes, for the whole and for each part.
Guards: status-merged-by-hole-bit, status-tail-is-hole, status-overflow-is-hole, extents-unsorted.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import follow
from qbdcheck.kit.nbd import CommandFlag
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

KIB, SIZE, ZERO = 1 << 10, 4 << 20, 2
CONTEXT = "base:allocation"


@case(
    groups="status protocol zero quick",
    requires="raw_requests block_status write_zeroes",
    basis="MUST: NBD, NBD_CMD_BLOCK_STATUS",
)
def test(new_disk, nbd_io, target, seed):
    size = max(SIZE, 160 * target.minimum_block)
    disk = new_disk(size + max(1024, size_unit(target)) if seed % 2 else size)
    random = seed.stream("places")
    with nbd_io(disk) as io:
        minimum = io.block_sizes[0]
        at = 0
        for number in range(150):
            length = widened(0, random.choice((512, 4096, 8192, 24 * KIB)), minimum)[1]
            if number % 3:
                io.write_zeroes(at, length, CommandFlag.NO_HOLE if number % 3 == 1 else 0)
            at += length
        check(io, disk, 0, disk.size)
        for _ in range(80):
            start = random.randrange(at)
            start, length = widened(start, random.choice((512, 4608, 100_000)), minimum)
            check(io, disk, start, min(start + length, disk.size))
        check(io, disk, disk.size - disk.size % 4096 - 65_536, disk.size)


def check(io, disk, start, end):
    """Check that what is zero by the status is zero by the shadow."""
    for first, after, flags in follow(io.client, start, end)[CONTEXT]:
        if flags & ZERO:
            expected = disk.shadow.expected(first, after - first)
            assert not any(expected), (
                f"block status of {end - start} bytes at {start}: [{first}, {after}) is zero,"
                " expected data"
            )
