"""This case checks that ranges zeroed with NO_HOLE stay allocated and read as zeroes.

How: a raw client zeroes data, a hole, and both together with NO_HOLE, from a block to most of the
volume, and queries the block status. Then it zeroes part of the range without the flag. The range
must read as zeroes either way.
Guards: zero-flags-lost, status-hole-over-dirty, no-hole-first-part-only.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import follow
from qbdcheck.kit.nbd import STATE_HOLE, CommandFlag
from qbdcheck.kit.nbd_requests import widened

KIB, MIB = 1 << 10, 1 << 20
PLACES = ((MIB, MIB), (3 * KIB, 64 * KIB), (MIB // 2, 3 * MIB + 512), (512 * KIB, 7 * MIB))


@case(
    groups="zero status quick protocol",
    requires="nbd write_zeroes block_status",
    basis="MUST: NBD, NBD_CMD_WRITE_ZEROES",
)
def test(disk, new_disk, nbd_io):
    for volume in (disk, new_disk(prefill=False)):
        with nbd_io(volume) as io:
            for place in PLACES:
                at, length = widened(*place, io.block_sizes[0])
                io.write_zeroes(at, length, CommandFlag.NO_HOLE)
                for first, end, flags in follow(io.client, at, at + length)["base:allocation"]:
                    assert not flags & STATE_HOLE, (
                        f"block status of [{first}, {end}): a hole, after WRITE_ZEROES of {length}"
                        f" bytes at {at} with NO_HOLE"
                    )
                io.write_zeroes(at, widened(0, length // 2, io.block_sizes[0])[1])
                io.read(at, length)
                io.write(at + length // 8192 * 4096, 4096)
        volume.verify()
