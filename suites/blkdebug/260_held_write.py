"""This case checks that a write that is held before it begins changes nothing until it is resumed.

How: a break at pwritev holds a write. Reads of its range return the old data, and other writes go
on. After resume its data is there. Reads held at read_aio return the data of the time when they are
resumed.
Related: phantom-write, zombie-write-after-reconnect, overlap-deadlock.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, start_and_hold
from qbdcheck.kit.blockdev import json_filename, over

AT, LENGTH = 1 << 20, 64 << 10


@case(groups="inject concurrent", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    held = json_filename(over("raw", blkdebug(disk.protocol_blockdev())))
    with qemu_io(held, shadow=disk.shadow) as io:
        start_and_hold(io, "pwritev", "writer", f"aio_write -P 0x77 {AT} {LENGTH}")
        io.read(AT - 4096, LENGTH + 8192)
        io.write(AT + LENGTH, 4096)
        io.write(AT - 4096, 4096)
        start_and_hold(io, "read_aio", "reader", f"aio_read -P 0x77 {AT} {LENGTH}")
        io("break pwritev_done written")
        io("resume writer")
        io("wait_break written")
        io("resume written")
        output = io("resume reader") + io("aio_flush")
        assert "Pattern verification failed" not in output, (
            f"the held read returned other data: {output}"
        )
        disk.shadow.pattern(AT, LENGTH, 0x77)
        io.read(AT - 4096, LENGTH + 8192)
    disk.verify()
