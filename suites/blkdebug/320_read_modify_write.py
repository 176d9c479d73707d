"""This case checks that a write inside a block that fails leaves the whole block as it was.

How: blocks of 4 KiB; writes in a block and across several fail, by an error that each event of
reading head and tail makes active. Old data everywhere; repeated, the write changes only its bytes.
(Where the reading fails: case 325.)
Guards: unaligned-offset-rounded, torn-write, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import json_filename

EVENTS = "pwritev_rmw_head pwritev_rmw_tail pwritev_rmw_after_head pwritev_rmw_after_tail pwritev"


@case(groups="inject errors blocksize quick")
def test(new_disk, qemu_io):
    disk = new_disk("256k")
    for event in EVENTS.split():
        rule = error(event, iotype="write", once=True)
        faulty = blkdebug(disk.protocol_blockdev(), rule, align=4096)
        with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
            assert errno_of(io, "write -P 0x33 12800 9000") == EIO, event
            io.read(8192, 16384)
            io.write(12800, 9000)
            io.write(8192 + 512, 512)
            io.read(8192, 16384)
    disk.verify()
