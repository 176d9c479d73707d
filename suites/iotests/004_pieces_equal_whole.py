"""This case checks that many odd-sized writes leave the same bytes as one large write.

How: the same 4096 bytes are written at once at one place, and in 13 pieces of odd sizes at another,
last piece first.
Guards: unaligned-offset-rounded.
Related: iov-offset-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_same

SIZES = (1, 511, 512, 513, 7, 100, 3, 1021, 255, 257, 64, 399, 453)
WHOLE, PIECES = 1 << 20, (3 << 20) + 77


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io, scratch):
    data = disk.shadow.stamped(WHOLE, 4096)
    spans, start = [], 0
    for size in SIZES:
        spans.append((start, size))
        start += size
    with qemu_io(disk) as io:
        (scratch / "whole").write_bytes(data)
        io.request(f"write -s {scratch}/whole {WHOLE} 4096")
        disk.shadow.write(WHOLE, data)
        for start, size in reversed(spans):
            (scratch / "piece").write_bytes(data[start : start + size])
            io.request(f"write -s {scratch}/piece {PIECES + start} {size}")
            disk.shadow.write(PIECES + start, data[start : start + size])
        expect_same(io.read(WHOLE, 4096), io.read(PIECES, 4096), "the data of the pieces")
    disk.verify()
