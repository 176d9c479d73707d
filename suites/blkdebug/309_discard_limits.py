"""This case checks that discards keep to the limits of the node, and to their range.

How: blkdebug with several opt- and max-discard, which aborts on a request that breaks them; ranges
of all alignments. In its midst a discard meets an error: it fails, the rest is old or zeroes.
Guards: discard-overreach, unaligned-offset-rounded, transient-becomes-fatal.
"""

from errno import EIO

import pytest

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, errno_of_failure, error
from qbdcheck.kit.blockdev import json_filename

LIMITS = (
    {"opt_discard": 4096, "max_discard": 4096},
    {"opt_discard": 65536, "max_discard": 131072},
    {"align": 4096, "opt_discard": 8192, "max_discard": 40960},
)
RANGES = ((0, 512), (4096, 4096), (65536 - 512, 1024), (102_400, 307_200))


@case(groups="inject errors discard blocksize")
def test(new_disk, qemu_io):
    disk = new_disk("1M")
    for limits in LIMITS:
        for rules in ((), (error(iotype="discard", sector=500),)):
            node = json_filename(blkdebug(disk.protocol_blockdev(), *rules, **limits))
            with qemu_io(node, shadow=disk.shadow) as io:
                io.write(0, 512 << 10)
                for offset, length in RANGES[:3]:
                    io.discard(offset, length)
                if rules:
                    with pytest.raises(IoFailed) as failed:
                        io.discard(*RANGES[3])
                    assert errno_of_failure(failed.value) == EIO
                else:
                    io.discard(*RANGES[3])
                io.write(200_000, 1000)
            disk.verify()
