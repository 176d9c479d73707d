"""This case checks that ranges zeroed with NO_HOLE stay allocated and read as zeroes.

How: a raw client zeroes data and a hole with NO_HOLE, and queries the block status. Then it zeroes
part of the range without the flag. The range must read as zeroes either way.
Guards: zero-flags-lost, status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import STATE_HOLE, CommandFlag


@case(
    groups="zero status quick protocol",
    requires="nbd write_zeroes block_status",
    basis="MUST: NBD, NBD_CMD_WRITE_ZEROES",
)
def test(disk, new_disk, nbd_io):
    for volume in (disk, new_disk(prefill=False)):
        with nbd_io(volume) as io:
            io.write_zeroes(1 << 20, 1 << 20, CommandFlag.NO_HOLE)
            position = 1 << 20
            while position < 2 << 20:
                left = (2 << 20) - position
                extents = io.client.block_status(position, left)["base:allocation"]
                for extent in extents:
                    assert not extent.flags & STATE_HOLE, (
                        f"block status at {position}: a hole, after WRITE_ZEROES with NO_HOLE"
                    )
                    position += extent.length
            io.write_zeroes(1 << 20, 512 << 10)
        volume.verify()
