"""This case checks that zeroing keeps to the limits of the node, and zeroes exactly its range.

How: blkdebug with several opt-write-zero and max-write-zero, which aborts on a request that breaks
them. Ranges of all alignments are zeroed, with and without unmap.
Guards: write-zeroes-noop, unaligned-offset-rounded.
Related: discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug
from qbdcheck.kit.blockdev import json_filename

LIMITS = (
    {"opt_write_zero": 4096, "max_write_zero": 4096},
    {"opt_write_zero": 65536, "max_write_zero": 131072},
    {"align": 4096, "opt_write_zero": 8192, "max_write_zero": 40960},
)
RANGES = ((0, 512), (1, 5000), (4096, 4096), (65536 - 512, 1024), (100_000, 300_000))


@case(groups="inject zero blocksize", basis="MUST: QAPI, BlockdevOptionsBlkdebug")
def test(new_disk, qemu_io, target):
    disk = new_disk((1 << 20) * target.scale)
    for smallest in LIMITS:
        limits = {name: value * target.scale for name, value in smallest.items()}
        node = json_filename(blkdebug(disk.protocol_blockdev(), **limits))
        with qemu_io(node, shadow=disk.shadow) as io:
            for unmap in (False, True):
                io.write(0, (512 << 10) * target.scale)
                for offset, length in RANGES:
                    io.write_zeroes(offset * target.scale, length * target.scale, unmap=unmap)
                io.read(60_000, 50_000)
        disk.verify()
