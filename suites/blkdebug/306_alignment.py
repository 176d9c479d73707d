"""This case checks that requests of any alignment are complete over nodes that require blocks.

How: blkdebug with align from 512 to 64 KiB, which aborts on a request that breaks it. Reads, writes
and zeroes inside, across and at blocks. Only what was written may change.
Guards: min-block-underadvertised, last-block-overrun.
Related: unaligned-offset-rounded.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened


@case(groups="inject blocksize", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io):
    disk = new_disk("1M")
    minimum = minimum_block(disk)
    for align in (512, 1024, 4096, 65536):
        node = json_filename(blkdebug(disk.protocol_blockdev(), align=align))
        with qemu_io(node, shadow=disk.shadow) as io:
            for offset, length in (
                (1, 1),
                (align - 1, 2),
                (2 * align - 100, align + 200),
                (5 * align, align),
                (5 * align + 512, 512),
                (disk.size - 700, 700),
            ):
                io.write(offset, length)
                io.read(max(0, offset - 512), min(length + 1024, disk.size - max(0, offset - 512)))
            io.write_zeroes(3 * align + 10, 2 * align)
            io.discard(*widened(8 * align, align, minimum))
            io.aio_write(10 * align + 1, align)
            io.aio_write(11 * align + 1, align)
            io.drain()
        disk.verify()
