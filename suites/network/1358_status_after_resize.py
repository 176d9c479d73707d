"""This case checks that block status is right at the end of a volume that grows and shrinks.

How: sizes inside and at the edge of sectors and blocks, as far as the target makes them. After each
resize, on a new connection, before and after writes at the end: the status leads
to the new end, nothing with data is called zero, and what a growth added reads as zeroes.
Guards: status-behind-growth, resize-not-notified, grow-exposes-old-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import StatusWrong, follow
from qbdcheck.kit.expectations import expect_bytes, expect_equal
from qbdcheck.kit.nbd import STATE_ZERO
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

BASE, KIB = "base:allocation", 1 << 10
SIZES = (1024 * KIB + 512, 1100 * KIB, 1100 * KIB + 1536, 1000 * KIB, 1000 * KIB + 77, 2048 * KIB)


@case(
    groups="size status protocol",
    requires="raw_requests block_status resize",
    basis="MUST: NBD, NBD_CMD_BLOCK_STATUS",
)
def test(new_disk, nbd_io, target):
    unit = size_unit(target)
    if "raw_size" in target.capabilities:
        unit = 1
    disk = new_disk(widened(0, 1 << 20, unit)[1])
    for wanted in SIZES:
        old = disk.size
        disk.resize(widened(0, wanted, unit)[1])
        with nbd_io(disk) as io:
            expect_bytes(io.client.size, disk.size, "a new connection")
            check(io, disk.size, f"after a resize from {old} to {disk.size}")
            block = io.block_sizes[0]
            at = max(disk.size - 20 * KIB, 0)
            io.write(*widened(at, 8 * KIB, block))
            end = widened(0, disk.size - block + 1, block)[1] if block > 1 else disk.size
            io.write(end - max(block, 512), max(block, 512))
            check(io, disk.size, f"after writes at the end of {disk.size} bytes")
    disk.verify()


def check(io, size, when):
    """Follow the status to the end; what it calls zero must read as zeroes."""
    end = size // io.block_sizes[0] * io.block_sizes[0]
    told = follow(io.client, 0, end)[BASE]
    expect_equal(told[-1][1], end, f"the end of block status {when}")
    for start, after, flags in told:
        if flags & STATE_ZERO and any(io.read(start, after - start)):
            raise StatusWrong(
                f"block status {when}: [{start}, {after}) is called zero, but has data"
            )
