"""This case checks that the N-th request of a sequence fails alone, for each N, reads and writes.

How: ten writes (or reads) of one sector each over a chain of states that fails the N-th. The error
must come at the N-th, and all other requests must be done.
Guards: phantom-write, misdirected-write.
Related: async-error-ignored.
"""

from errno import EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, fail_nth
from qbdcheck.kit.blockdev import json_filename, over
from qbdcheck.kit.expectations import expect_errno

STEP = 12345


@case(groups="inject errors", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    for kind, number in (("read", EIO), ("write", ENOSPC)):
        for count in (1, 2, 5, 10):
            rules = fail_nth(f"{kind}_aio", count, number, once=True)
            faulty = over("raw", {**blkdebug(disk.protocol_blockdev()), **rules})
            with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
                for request in range(1, 11):
                    where = request * STEP
                    if request == count:
                        expect_errno(io, f"{kind} {where} 512", number)
                    elif kind == "read":
                        io.read(where, 512)
                    else:
                        io.write(where, 512)
        disk.verify()
