"""This case checks that block status never splits a minimum block.

How: minimum blocks of 4096 and 65536 bytes, with data and holes next to each other. Each extent
must be a multiple of the minimum, unless it ends at the end of the volume.
Guards: status-unaligned-eof.
Related: malformed-extents.
"""

from qbdcheck.kit import case


@case(
    groups="blocksize status quick protocol",
    requires="nbd min_block block_status",
    basis=("MUST: NBD, Block size constraints", "MUST: NBD, NBD_CMD_BLOCK_STATUS"),
)
def test(new_disk, nbd_io):
    for minimum in (4096, 65536):
        disk = new_disk("1M", prefill=False, min_block=minimum)
        with nbd_io(disk) as io:
            for number in range(0, 16, 3):
                io.write(number * 65536, minimum)
            position = 0
            while position < disk.size:
                left = disk.size - position
                for extent in io.client.block_status(position, left)["base:allocation"]:
                    position += extent.length
                    whole = extent.length % minimum == 0 or position >= disk.size
                    assert whole, (
                        f"the extent of {extent.length} bytes before {position} splits a block"
                    )
        disk.verify()
