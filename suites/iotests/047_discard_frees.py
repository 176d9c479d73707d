"""This case checks that discarded and unmapped ranges become holes if the target reports holes.

How: the target must report a new volume as a hole. Then 1 MiB that is discarded and 1 MiB that is
zeroed with unmap must be holes again, and the data next to them must be unchanged.
Related: zero-flags-lost, discard-not-tracked.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import STATE_HOLE

MIB = 1 << 20


@case(
    groups="status discard quick protocol",
    requires="raw_requests block_status discard write_zeroes",
    basis="POLICY: discarded-space-is-a-hole",
)
def test(disk, new_disk, nbd, nbd_io, not_run):
    with nbd(new_disk(prefill=False)) as client:
        fresh = client.block_status(MIB, MIB)["base:allocation"][0]
    if not fresh.flags & STATE_HOLE:
        raise NotRun("the target reports no holes, not even in a new volume")
    with nbd_io(disk) as io:
        io.discard(MIB, MIB)
        io.write_zeroes(4 * MIB, MIB)
        for start, what in ((MIB, "discarded"), (4 * MIB, "zeroed")):
            extent = io.client.block_status(start, MIB)["base:allocation"][0]
            if not extent.flags & STATE_HOLE:  # a server may keep the space (NBD document)
                not_run(f"the target keeps the space of {what} ranges")
    disk.verify()
