"""This case checks that many small extents are reported correctly, in bounded replies that make
progress.

How: 4 KiB of data every 8 KiB over 8 MiB. Block status is queried up to the end of the volume.
Guards: extents-unsorted.
Related: extents-blowup, zero-progress-status.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import STATE_ZERO, Command

STEP = 8192


@case(
    groups="status quick protocol",
    requires="raw_requests block_status",
    basis=("MUST: NBD, NBD_CMD_BLOCK_STATUS", "MUST: NBD, Metadata contexts"),
)
def test(new_disk, nbd_io, log):
    disk = new_disk(prefill=False)
    with nbd_io(disk) as io:
        for offset in range(0, disk.size, STEP):
            io.send(Command.WRITE, offset, 4096)
            if io.in_flight == 64:
                io.finish_all()
        io.finish_all()
        position = queries = 0
        while position < disk.size:
            extents = io.client.block_status(position, disk.size - position)["base:allocation"]
            queries += 1
            for extent in extents:
                assert extent.length > 0, f"block status at {position}: an extent of length 0"
                if extent.flags & STATE_ZERO:
                    assert position % STEP >= 4096, (
                        f"block status at {position}: zero, but there is data"
                    )
                    assert extent.length <= STEP, (
                        f"block status at {position}: zero for {extent.length} bytes, with data"
                    )
                position += extent.length
        log(f"{queries} queries for {disk.size // STEP} pieces of data")
    disk.verify()
