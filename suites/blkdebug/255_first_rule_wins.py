"""This case checks that of several rules the first that matches decides, and errno 0 shields.

How: rules for one sector, for all reads, and one with errno 0 above them, in both orders; a rule
with once=true is used up only by the request that it fails.
Guards: errno-collapsed, missing-object-zero-fill.
"""

from errno import EIO, ENOMEM, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, errno_of, error
from qbdcheck.kit.blockdev import json_filename

POINT = error(number=ENOMEM, iotype="read", sector=100)
ALL = error(number=EIO, iotype="read")
SHIELD = error(number=0, iotype="read", sector=100)
ONCE = error(number=ENOSPC, iotype="read", sector=100, once=True)

EXPECTED = (
    # the rules; what reads of sector 100, sector 200, sector 100 again, 0 to 200 end with
    ((POINT, ALL), (ENOMEM, EIO, ENOMEM, ENOMEM)),
    ((ALL, POINT), (EIO, EIO, EIO, EIO)),
    ((SHIELD, ALL), (0, EIO, 0, 0)),
    ((ONCE, SHIELD, ALL), (ENOSPC, EIO, 0, 0)),
    ((SHIELD, ONCE), (0, 0, 0, 0)),
    ((ONCE,), (ENOSPC, 0, 0, 0)),
)
READS = ("read 51200 512", "read 102400 512", "read 51200 512", "read 0 102400")


@case(groups="inject errors")
def test(disk, qemu_io):
    for rules, expected in EXPECTED:
        faulty = json_filename(blkdebug(disk.protocol_blockdev(), *rules))
        with qemu_io(faulty, shadow=disk.shadow) as io:
            seen = tuple(errno_of(io, command) for command in READS)
            assert seen == expected, (rules, seen)
            io.write(51200, 512)
    disk.verify()
