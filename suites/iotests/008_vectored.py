"""This case checks that requests with many buffers move each buffer to or from its own place.

How: readv and writev with few uneven, many small, and very many buffers, over stamped sectors. Each
stamp names its place.
Guards: limits-zero-or-excessive, short-read-resume-offset.
Related: iov-offset-ignored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content

SHAPES = (
    (512, [512, 512]),
    (1 << 20, [1, 511, 512, 4096, 3, 509]),
    ((2 << 20) + 77, [100] * 50),
    (3 << 20, [512] * 200),
    ((4 << 20) + 5, [65536, 1, 65535]),
)


@case(groups="rw quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for byte, (offset, lengths) in enumerate(SHAPES, start=1):
            total = sum(lengths)
            shape = " ".join(map(str, lengths))
            report = io.request(f"readv -v {offset} {shape}")
            expect_content(
                disk.shadow, offset, report.data, f"readv of {total} bytes at {offset}", total
            )
            io.request(f"writev -P {byte} {offset} {shape}")
            disk.shadow.pattern(offset, total, byte)
            io.read(offset, total)
    disk.verify()
