"""This case checks that block status covers every byte once, in order, and never calls data zero.

How: data, zeroes and holes in one volume; the answers to queries of many starts and lengths are
held against what the volume contains.
Guards: malformed-extents, extents-unsorted, zero-progress-status, status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import STATE_ZERO, CommandFlag

STARTS = (0, 4096, 65536, (1 << 20) + 512, (3 << 20) - 4096)
LENGTHS = (512, 4096, 1 << 20, 5 << 20)


@case(groups="status quick protocol", requires="nbd block_status discard write_zeroes")
def test(disk, nbd_io):
    with nbd_io(disk) as io:
        io.write_zeroes(1 << 20, 1 << 20)
        io.discard(3 << 20, 1 << 20)
        for start in STARTS:
            for length in LENGTHS:
                for flags in (0, CommandFlag.REQ_ONE):
                    extents = io.client.block_status(start, length, flags)["base:allocation"]
                    where = f"status of {length} bytes at {start}, flags {flags:#x}"
                    check(io, start, length, extents, one=bool(flags), where=where)
    disk.verify()


def check(io, start, length, extents, *, one, where):
    assert extents, f"{where}: no extent"
    assert not one or len(extents) == 1, f"{where}: REQ_ONE gave {len(extents)} extents"
    assert all(extent.length > 0 for extent in extents), f"{where}: an empty extent"
    before_last = sum(extent.length for extent in extents[:-1])
    assert before_last < length, f"{where}: extents beyond the request"
    # Without REQ_ONE the last extent may reach further than asked; with it, it may not.
    assert not one or extents[0].length <= length, f"{where}: REQ_ONE beyond the request"
    position = start
    for extent in extents:
        if extent.flags & STATE_ZERO:
            size = min(extent.length, 1 << 20)
            assert not any(io.read(position, size)), f"{where}: data in a zero extent"
        position += extent.length
