"""This case checks that an error at a sector fails exactly the requests that touch this sector.

How: reads and writes that end before it, begin at, end at, hold, begin after it; unaligned ones
too. A sub-sector write that must read the bad sector first fails whole.
Guards: short-read-resume-offset, missing-object-zero-fill, async-error-ignored.
"""

from errno import EIO

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import json_filename

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


@case(groups="inject errors quick")
def test(disk, qemu_io):
    for kind in ("read", "write"):
        rule = error(iotype=kind, sector=BAD)
        faulty = blkdebug(disk.protocol_blockdev(), rule, align=512)
        with qemu_io(json_filename(faulty), shadow=disk.shadow) as io:
            for (offset, length), expected in RANGES.items():
                if expected:
                    assert errno_of(io, f"{kind} {offset} {length}") == expected, (offset, length)
                elif kind == "read":
                    io.read(offset, length)
                else:
                    io.write(offset, length)
            if kind == "write":
                io.read(AT - 4096, 8192)
        disk.verify()
