"""This case checks that write-zeroes zeroes written, never written and already zeroed ranges.

How: the same zeroing, with and without unmap, over prefilled data, an untouched part of an empty
volume, and a range that is already zero. Each is followed by a write into its middle.
Guards: write-zeroes-noop, zero-via-nondeterministic-discard, false-zero-init.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_zeroes


@case(
    groups="rw quick zero",
    requires="write_zeroes",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, new_disk, qemu_io):
    empty = new_disk(prefill=False)
    for volume in (disk, empty):
        with qemu_io(volume) as io:
            for number, unmap in enumerate((False, True)):
                start = (1 + 3 * number) << 20
                io.write_zeroes(start, 1 << 20, unmap=unmap)
                io.write(start + (500 << 10), 24 << 10)
                io.write_zeroes(start + (256 << 10), 512 << 10, unmap=unmap)
                io.write_zeroes(start + (256 << 10), 512 << 10, unmap=unmap)
                io.write(start + (300 << 10), 4096)
                expect_zeroes(
                    io.read(start + (304 << 10), 64 << 10), f"the zeroed range at {start}"
                )
        volume.verify()
