"""This case checks that block status reports a write as data as soon as it is acknowledged.

How: 400 writes into holes. After each reply, without a flush, the status is queried on the same
connection and, if several connections may share the volume, on another.
Guards: status-hole-over-dirty.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import STATE_ZERO
from qbdcheck.kit.nbd_requests import widened


@case(
    groups="status quick protocol",
    requires="raw_requests block_status",
    basis="MUST: NBD, Metadata contexts",
)
def test(new_disk, nbd_io, target):
    disk = new_disk("32M", prefill=False)
    clients = [nbd_io(disk)]
    if "multi_conn" in target.capabilities:
        clients.append(nbd_io(disk))
    for number in range(400):
        offset = number * 81920 // 4096 * 4096
        clients[0].write(offset, 4096)
        for io in clients:
            place = widened(offset, 4096, io.block_sizes[0])
            extent = io.client.block_status(*place)["base:allocation"][0]
            assert not extent.flags & STATE_ZERO, (
                f"block status of 4096 bytes at {offset}: zero, after an acknowledged write"
            )
    for io in clients:
        io.close()
    if not disk.shadow.last_write(0, 4096):
        raise NotRun("nothing was written")
