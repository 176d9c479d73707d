"""This case checks that a request that failed once succeeds when it is repeated.

How: for each kind of request one error with once=true. The same request, repeated at once, must do
all of its work, and so must the next one.
Guards: transient-becomes-fatal.
Related: flush-error-once, async-error-ignored.
"""

from errno import EAGAIN, EBUSY, EINTR, EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_errno

AT = 3 << 20


@case(groups="inject errors", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    for number in (EIO, ENOSPC, EINTR, EAGAIN, EBUSY):
        rules = [
            error(number=number, iotype=kind, once=True)
            for kind in ("read", "write", "write-zeroes", "discard")
        ]
        faulty = blkdebug(disk.protocol_blockdev(), *rules)
        with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
            expect_errno(io, f"read {AT} 64k", number)
            io.read(AT, 64 << 10)
            expect_errno(io, f"write -P 0x11 {AT} 64k", number)
            io.read(AT, 64 << 10)
            io.write(AT, 64 << 10)
            expect_errno(io, f"write -z {AT} 32k", number)
            io.read(AT, 64 << 10)
            io.write_zeroes(AT, 32 << 10)
            expect_errno(io, f"discard {AT + 32768} 32k", number)
            io.read(AT, 64 << 10)
            io.discard(AT + 32768, 32 << 10)
            io.read(AT, 64 << 10)
            io.write(AT + 1000, 3000)
        disk.verify()
