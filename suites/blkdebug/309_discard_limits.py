"""This case checks that discards keep to the limits of the node, and to their range.

How: blkdebug with several opt-discard and max-discard, which aborts on a request that breaks them.
Ranges of all alignments are discarded. One discard meets an error in the middle: it must fail, and
the rest must be old or zero.
Guards: discard-overreach, unaligned-offset-rounded, transient-becomes-fatal.
"""

from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blkdebug import blkdebug, errno_of_failure, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import errno_name, expect_failure
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened

LIMITS = (
    {"opt_discard": 4096, "max_discard": 4096},
    {"opt_discard": 65536, "max_discard": 131072},
    {"align": 4096, "opt_discard": 8192, "max_discard": 40960},
)
RANGES = ((0, 512), (4096, 4096), (65536 - 512, 1024), (102_400, 307_200))


@case(groups="inject errors discard blocksize", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io, target):
    scale = target.scale
    disk = new_disk((1 << 20) * scale)
    minimum = minimum_block(disk)
    ranges = [widened(at * scale, length * scale, minimum) for at, length in RANGES]
    for smallest in LIMITS:
        limits = {name: value * scale for name, value in smallest.items()}
        for rules in ((), (error(iotype="discard", sector=500 * scale),)):
            node = json_filename(blkdebug(disk.protocol_blockdev(), *rules, **limits))
            with qemu_io(node, shadow=disk.shadow) as io:
                io.write(0, (512 << 10) * scale)
                for offset, length in ranges[:3]:
                    io.discard(offset, length)
                if rules:
                    with expect_failure(
                        IoFailed, f"discard of {ranges[3][1]} bytes at {ranges[3][0]}"
                    ) as failed:
                        io.discard(*ranges[3])
                    seen = errno_name(errno_of_failure(failed.value))
                    assert seen == "EIO", f"discard {ranges[3]}: expected EIO, got {seen}"
                else:
                    io.discard(*ranges[3])
                io.write(200_000, 1000)
            disk.verify()
