"""This case checks that qemu-io's map covers the disk once and never calls data unallocated.

How: a new disk with some written ranges. The map must reach from 0 to the end without a gap, and
what is written must be allocated in it.
Related: status-hole-over-dirty, malformed-extents, size-rounded-down.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

WRITTEN = ((0, 65536), (1 << 20, 512 << 10), (5 << 20, 4096), ((8 << 20) - 65536, 65536))


@case(
    groups="status quick",
    formats="any",
    basis=("MUST: qemu-img(1), map", "POLICY: written-data-is-no-hole"),
)
def test(new_disk, qemu_io):
    disk = new_disk(prefill=False)
    with qemu_io(disk) as io:
        for start, length in WRITTEN:
            io.write(start, length)
        extents = io.map()
    position = 0
    for start, length, _ in extents:
        assert start == position, f"expected an extent at {position}, got one at {start}"
        assert length > 0, f"the map has an extent of length {length} at {start}"
        position += length
    expect_equal(position, disk.size, "the end of the map")
    for start, length in WRITTEN:
        for at, count, allocated in extents:
            if at < start + length and start < at + count:
                assert allocated, f"the data at {start} is unallocated in the map"
    disk.verify()
