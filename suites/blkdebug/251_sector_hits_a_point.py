"""This case checks that an error at a sector fails exactly the requests that touch that sector.

How: reads and writes that end before it, begin at it, end at it, contain it, and begin after it;
also unaligned ones. A sub-sector write that must read the bad sector first fails as a whole.
Guards: short-read-resume-offset.
Related: missing-object-zero-fill, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_errno

BAD = 1000
AT = 512 * BAD
RANGES = {
    (AT - 4096, 4096): 0,
    (AT - 4096, 4097): EIO,
    (AT, 1): EIO,
    (AT + 511, 1): EIO,
    (AT + 512, 4096): 0,
    (AT - 65536, 131072): EIO,
    (0, AT): 0,
}


@case(groups="inject errors quick", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    for kind in ("read", "write"):
        rule = error(iotype=kind, sector=BAD)
        faulty = blkdebug(disk.protocol_blockdev(), rule, align=512)
        with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
            for (offset, length), expected in RANGES.items():
                if expected:
                    expect_errno(io, f"{kind} {offset} {length}", expected)
                elif kind == "read":
                    io.read(offset, length)
                else:
                    io.write(offset, length)
            if kind == "write":
                io.read(AT - 4096, 8192)
        disk.verify()
