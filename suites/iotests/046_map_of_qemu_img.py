"""This case checks that qemu-img map tells data from zeroes, and agrees with what is there.

How: 1 MiB ranges written, zeroed, discarded; no data may be zero in the map, what is zero there
must read zero, and the ranges follow one another.
Guards: status-hole-over-dirty, extents-unsorted, discard-overreach.
"""

from qbdcheck.kit import case

MIB = 1 << 20


@case(groups="status img quick", formats="any", requires="write_zeroes discard")
def test(disk, qemu_io, qemu_img):
    with qemu_io(disk) as io:
        io.write_zeroes(2 * MIB, MIB, unmap=True)
        io.discard(5 * MIB, MIB)
        io.write(5 * MIB + 65536, 65536)
    position = 0
    for extent in qemu_img.json("map", disk.filename):
        assert extent["start"] == position, f"gap or overlap at {position}"
        position += extent["length"]
        if extent["zero"]:
            data = disk.read_all(extent["start"], extent["length"])
            assert not data.any(), f"zero in the map, data at {extent['start']}"
            assert not disk.shadow.check(extent["start"], data)
    assert position == disk.size
    disk.verify()
