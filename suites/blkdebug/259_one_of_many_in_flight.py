"""This case checks that of many requests in flight exactly the one that meets the error fails.

How: 32 writes, then 32 reads, are in flight together over blkdebug that fails one sector, once
through the event loop and once immediately. There must be one error each, and all other data must
be right.
Related: async-error-ignored, errno-collapsed, shared-cursor-race.
"""

from errno import EIO

from qbdcheck.kit import case, parse_reports
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_equal

COUNT, LENGTH, STRUCK = 32, 20 << 10, 17


@case(groups="inject errors concurrent quick", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(disk, qemu_io):
    sector = (STRUCK * LENGTH + 5000) // 512
    for immediately in (False, True):
        rules = [
            error(number=EIO, iotype=kind, sector=sector, once=True, immediately=immediately)
            for kind in ("write", "read")
        ]
        faulty = json_filename(blkdebug(disk.protocol_blockdev(), *rules))
        with qemu_io(faulty, shadow=disk.shadow) as io:
            for command in ("aio_write -P {byte}", "aio_read -P {byte}"):
                text = ""
                for number in range(COUNT):
                    request = command.format(byte=number + 1)
                    text += io(f"{request} {number * LENGTH} {LENGTH}")
                ended = parse_reports(text + io("aio_flush"))
                failed = [one.error for one in ended if one.error]
                expect_equal(failed, ["Input/output error"], f"the errors of {command}")
                expect_equal(len(ended), COUNT, f"the number of completed requests of {command}")
            for number in set(range(COUNT)) - {STRUCK}:
                disk.shadow.pattern(number * LENGTH, LENGTH, number + 1)
            io.read((STRUCK - 1) * LENGTH, 3 * LENGTH)
            io.write(STRUCK * LENGTH, LENGTH)
    disk.verify()
