"""This case checks that the last bytes of a volume of an odd size can be read, and none beyond.

How: for several sizes the tail is read in pieces that end at the last byte, before it, and behind
it. QEMU rounds sizes up to sectors; what it adds reads as zeroes. A read behind that is refused.
Guards: size-rounded-down, last-block-overrun, alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal
from qbdcheck.kit.volume_limits import size_unit

KIB, MIB = 1 << 10, 1 << 20
SIZES = (1, 511, 4097, 256 * KIB + 1, MIB + 777)


@case(groups="rw size reading quick", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, qemu_io, target):
    unit = size_unit(target)
    for size in sorted({-(-size // unit) * unit for size in SIZES}):
        disk = new_disk(size)
        end = -(-size // 512) * 512
        with qemu_io(disk, read_only=True) as io:
            for length in (1, 512, 70_000):
                for stop in (size, max(1, size - 3), end):
                    io.read(max(0, stop - length), min(length, stop))
            added = io.read(size, end - size) if end > size else b""
            expect_equal(added, bytes(end - size), f"a read behind {size} bytes")
            for offset in (end, end - 512):
                text = io(f"read {offset} 1024")
                assert "bytes read" not in text and text.strip(), (
                    f"read 1024 bytes at {offset}, behind the end at {end}: {text}"
                )
        disk.verify()
