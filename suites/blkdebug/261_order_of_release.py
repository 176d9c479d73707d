"""This case checks that of overlapping writes the one that is released last stays.

How: two writes of one range are held at pwritev and released one after the other, in both orders.
The data must be that of the last. remove_break releases like resume.
Related: destage-reorder, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, start_and_hold
from qbdcheck.kit.blockdev import json_filename

AT, LENGTH = 3 << 20, 100_000


@case(groups="inject concurrent", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    held = json_filename(blkdebug(disk.protocol_blockdev()))
    with qemu_io(held, shadow=disk.shadow) as io:
        for order in ("ab", "ba"):
            for release in ("resume", "remove_break"):
                for tag in "ab":
                    start_and_hold(io, "pwritev", tag, f"aio_write -P {ord(tag)} {AT} {LENGTH}")
                io.read(AT, LENGTH)
                for tag in order:
                    io("break pwritev_done done")
                    io(f"{release} {tag}")
                    io("wait_break done")
                    io("resume done")
                io("aio_flush")
                disk.shadow.pattern(AT, LENGTH, ord(order[1]))
                io.read(AT - 512, LENGTH + 1024)
    disk.verify()
