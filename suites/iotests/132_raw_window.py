"""This case checks that a raw window (offset and size) onto a volume changes data nowhere else.

How: windows that tile a volume are written, zeroed and discarded up to their ends. Nothing outside
may change, and a request behind the end of a window is refused.
Guards: last-block-overrun, discard-overreach.
Related: oob-past-end, misdirected-write.
"""

from oracles.shadow import Shadow
from qbdcheck.kit import IoFailed, case
from qbdcheck.kit.blockdev import json_filename, node
from qbdcheck.kit.expectations import expect_failure, expect_size
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened

KIB, MIB = 1 << 10, 1 << 20
WINDOWS = ((0, 64 * KIB), (64 * KIB, MIB), (MIB + 64 * KIB, 512), (MIB + 64 * KIB + 512, 300 * KIB))


@case(groups="format rw", basis="MUST: QAPI, BlockdevOptionsRaw")
def test(new_disk, qemu_io, qemu_img):
    disk = new_disk("2M")
    minimum = minimum_block(disk)
    for start, size in WINDOWS:
        window = node("raw", offset=start, size=size, file=disk.protocol_blockdev())
        inside = Shadow(size, disk.shadow.identity)
        inside.write(0, disk.shadow.expected(start, size))
        expect_size(qemu_img, json_filename(window), size)
        with qemu_io(json_filename(window), shadow=inside) as io:
            io.read(0, min(size, 64 * KIB))
            io.write(0, 512)
            io.write(size - 300, 300)
            if size > 4 * KIB:
                io.write_zeroes(size // 2, size // 2, unmap=True)
                io.write(size - 512, 511)
                at, length = widened(start + 512, size // 4, minimum)
                if at >= start:
                    io.discard(at - start, length)
                io.read(0, size // 2)
            with expect_failure(
                IoFailed,
                f"write of 512 bytes at {size - 256}, across the end of the window",
                "Input/output error",
            ):
                io.write(size - 256, 512)
        with qemu_io(json_filename(window), read_only=True, shadow=inside) as io:
            disk.shadow.write(start, io.read(0, size))
        disk.verify()
