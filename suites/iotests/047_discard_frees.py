"""This case checks that discarded and unmapped ranges become holes where the target reports holes.

How: on a target that reports a fresh volume as a hole, 1 MiB discarded and 1 MiB zeroed with unmap
must be holes again, with the data beside them untouched.
Guards: zero-flags-lost, discard-not-tracked.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import STATE_HOLE

MIB = 1 << 20


@case(groups="status discard quick protocol", requires="nbd block_status discard write_zeroes")
def test(disk, new_disk, nbd, nbd_io, not_run):
    with nbd(new_disk(prefill=False)) as client:
        fresh = client.block_status(0, MIB)["base:allocation"][0]
    if not fresh.flags & STATE_HOLE:
        not_run("the target reports no holes, not even in a fresh volume")
        return
    with nbd_io(disk) as io:
        io.discard(MIB, MIB)
        io.write_zeroes(4 * MIB, MIB)
        for start, what in ((MIB, "discarded"), (4 * MIB, "zeroed")):
            extent = io.client.block_status(start, MIB)["base:allocation"][0]
            if not extent.flags & STATE_HOLE:  # a server may keep the space (NBD document)
                not_run(f"the target keeps the space of what is {what}")
    disk.verify()
