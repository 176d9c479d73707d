"""This case checks that block status covers every byte once, in order, and never calls data zero.

How: data, zeroes and holes in one volume. The extents that queries of many starts and lengths
return are compared with the contents of the volume.
Guards: malformed-extents, extents-unsorted.
Related: zero-progress-status, status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import STATE_ZERO, Command, CommandFlag
from qbdcheck.kit.nbd_requests import request_name, widened

STARTS = (0, 4096, 65536, (1 << 20) + 512, (3 << 20) - 4096)
LENGTHS = (512, 4096, 1 << 20, 5 << 20)


@case(
    groups="status quick protocol",
    requires="raw_requests block_status discard write_zeroes",
    basis=("MUST: NBD, NBD_CMD_BLOCK_STATUS", "MUST: NBD, Metadata contexts"),
)
def test(disk, nbd_io):
    with nbd_io(disk) as io:
        io.write_zeroes(1 << 20, 1 << 20)
        io.discard(3 << 20, 1 << 20)
        minimum = io.block_sizes[0]
        for start, length in ((start, length) for start in STARTS for length in LENGTHS):
            for flags in (0, CommandFlag.REQ_ONE):
                check(io, *widened(start, length, minimum), flags)
    disk.verify()


def check(io, start, length, flags):
    """Query the status of a range, and check the extents."""
    where = request_name(Command.BLOCK_STATUS, start, length, flags)
    extents = io.client.block_status(start, length, flags)["base:allocation"]
    assert extents, f"{where}: expected at least one extent, got none"
    assert all(extent.length > 0 for extent in extents), f"{where}: an extent has length 0"
    if flags:
        assert len(extents) == 1, f"{where}: expected one extent, got {len(extents)}"
        # Without REQ_ONE the last extent may end behind the request; with it, it may not.
        longer = f"{where}: the extent has {extents[0].length} bytes, more than the request"
        assert extents[0].length <= length, longer
    before_last = sum(extent.length for extent in extents[:-1])
    assert before_last < length, f"{where}: the last extent begins behind the request"
    position = start
    for extent in extents:
        if extent.flags & STATE_ZERO:
            size = min(extent.length, 1 << 20)
            wrong = f"{where}: the zero extent at {position} contains data"
            assert not any(io.read(position, size)), wrong
        position += extent.length
