"""This case checks that the first of several rules that match decides, and errno 0 shields.

How: rules for one sector, for all reads, and one with errno 0 above them, in several orders. A rule
with once=true is used up only by the request that it fails.
Related: errno-collapsed, missing-object-zero-fill.
"""

from errno import EIO, ENOMEM, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_result

POINT = error(number=ENOMEM, iotype="read", sector=100)
ALL = error(number=EIO, iotype="read")
SHIELD = error(number=0, iotype="read", sector=100)
ONCE = error(number=ENOSPC, iotype="read", sector=100, once=True)

EXPECTED = (
    # the rules; the errnos of reads of sector 100, 200, 100 again, and 0 to 200
    ((POINT, ALL), (ENOMEM, EIO, ENOMEM, ENOMEM)),
    ((ALL, POINT), (EIO, EIO, EIO, EIO)),
    ((SHIELD, ALL), (0, EIO, 0, 0)),
    ((ONCE, SHIELD, ALL), (ENOSPC, EIO, 0, 0)),
    ((SHIELD, ONCE), (0, 0, 0, 0)),
    ((ONCE,), (ENOSPC, 0, 0, 0)),
)
READS = ("read 51200 512", "read 102400 512", "read 51200 512", "read 0 102400")


@case(groups="inject errors", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    for rules, expected in EXPECTED:
        faulty = json_filename(blkdebug(disk.protocol_blockdev(), *rules))
        with qemu_io(faulty, shadow=disk.shadow) as io:
            for command, number in zip(READS, expected, strict=True):
                seen = errno_of(io, command)
                expect_result(seen, number, f"'{command}' with the rules {rules}")
            io.write(51200, 512)
    disk.verify()
