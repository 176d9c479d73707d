"""This case checks that qemu-io's map covers the disk once and never calls data unallocated.

How: a fresh disk with some written ranges; what is written must be allocated in the map, and it
must reach from 0 to the end without a gap.
Guards: status-hole-over-dirty, malformed-extents, size-rounded-down.
"""

from qbdcheck.kit import case

WRITTEN = ((0, 65536), (1 << 20, 512 << 10), (5 << 20, 4096), ((8 << 20) - 65536, 65536))


@case(groups="status quick", formats="any")
def test(new_disk, qemu_io):
    disk = new_disk(prefill=False)
    with qemu_io(disk) as io:
        for start, length in WRITTEN:
            io.write(start, length)
        extents = io.map()
    position = 0
    for start, length, _ in extents:
        assert start == position, f"the map has a gap or an overlap at {position}"
        assert length > 0
        position += length
    assert position == disk.size
    for start, length in WRITTEN:
        for at, count, allocated in extents:
            if at < start + length and start < at + count:
                assert allocated, f"data at {start} is unallocated in the map"
    disk.verify()
