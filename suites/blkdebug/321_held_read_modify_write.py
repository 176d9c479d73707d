"""This case checks that two writes into one block in flight together do not undo each other.

How: blocks of 4 KiB. A write of 1000 bytes is held during its read-modify-write, and others into
the same block start. Then it is resumed. All must be there, because the later ones had to wait.
Guards: phantom-write.
Related: shared-cursor-race, overlap-deadlock.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, start_and_hold
from qbdcheck.kit.blockdev import json_filename

BLOCK = 40 << 10


@case(
    groups="inject concurrent blocksize",
    basis=("MUST: QAPI, BlockdevOptionsBlkdebug", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, qemu_io):
    disk = new_disk("256k")
    faulty = json_filename(blkdebug(disk.protocol_blockdev(), align=4096))
    with qemu_io(faulty, shadow=disk.shadow) as io:
        for event in ("pwritev_rmw_head", "pwritev_rmw_after_head", "pwritev_rmw_after_tail"):
            start_and_hold(io, event, "first", f"aio_write -P 1 {BLOCK + 512} 1000")
            for number in range(2, 6):
                io(f"aio_write -P {number} {BLOCK + number * 600} 512")
            io(f"aio_write -P 9 {BLOCK + 4096 - 256} 512")
            io("resume first")
            io("aio_flush")
            disk.shadow.concurrent(
                [(BLOCK + 512, b"\1" * 1000)]
                + [(BLOCK + number * 600, bytes([number]) * 512) for number in range(2, 6)]
                + [(BLOCK + 4096 - 256, b"\t" * 512)]
            )
            io.read(BLOCK - 512, 9000)
            io.write(BLOCK, 4096)
    disk.verify()
