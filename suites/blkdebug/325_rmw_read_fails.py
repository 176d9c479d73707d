"""This case checks that a write into a block that cannot be read fails, and keeps the block.

How: blocks of 4 KiB and no reads: a write of 512 bytes needs the rest of its block and cannot get
it. Disabled because QEMU 7.2.22 fails it on every target: it writes the block nevertheless, with
other data around the 512 bytes, and reports success (docs/findings.md#qemu-rmw-read-error).
Guards: async-error-ignored, unaligned-offset-rounded, missing-object-zero-fill.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import errno_name, expect_equal


@case(groups="inject errors blocksize disabled", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io):
    disk = new_disk("64k")
    faulty = blkdebug(disk.protocol_blockdev(), error(number=EIO, iotype="read"), align=4096)
    with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
        failed = errno_name(errno_of(io, "write -P 1 8704 512"))
    disk.shadow.pattern(8704, 512, 1, maybe=True)
    disk.verify()
    expect_equal(failed, "EIO", "write 8704 512 without its block, errno")
