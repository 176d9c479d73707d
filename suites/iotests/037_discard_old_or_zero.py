"""This case checks that a discarded range reads as its old data or as zeroes, and stays that way.

How: aligned ranges of a prefilled disk are discarded and read. Then data is written next to them,
and they are read again.
Guards: discard-overreach.
Related: discard-exposes-backing, zero-via-nondeterministic-discard.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_same


@case(
    groups="rw quick discard",
    requires="discard",
    formats="any",
    basis="POLICY: discard-old-or-zero",
)
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for number, length in enumerate((4096, 65536, 1 << 20)):
            start = (2 * number + 1) << 20
            io.discard(start, length)
            first = io.read(start, min(length, 65536))
            io.write(start - 4096, 4096)
            io.write(start + length, 4096)
            expect_same(
                io.read(start, min(length, 65536)),
                first,
                f"the discarded range at {start}, read again",
            )
    disk.verify()
