"""This case checks that a failed write inside a block leaves the whole block as it was.

How: blocks of 4 KiB. Writes in a block and across several fail, by an error that each event of the
read-modify-write activates. There must be old data everywhere. Repeated, the write must change only
its bytes. (If the read fails: case 325.)
Related: unaligned-offset-rounded, torn-write, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_errno

EVENTS = "pwritev_rmw_head pwritev_rmw_tail pwritev_rmw_after_head pwritev_rmw_after_tail pwritev"


@case(groups="inject errors blocksize quick", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io):
    disk = new_disk("256k")
    for event in EVENTS.split():
        rule = error(event, iotype="write", once=True)
        faulty = blkdebug(disk.protocol_blockdev(), rule, align=4096)
        with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
            expect_errno(io, "write -P 0x33 12800 9000", EIO)
            io.read(8192, 16384)
            io.write(12800, 9000)
            io.write(8192 + 512, 512)
            io.read(8192, 16384)
    disk.verify()
