"""This case checks that qemu-img map distinguishes data from zeroes, and agrees with the contents.

How: ranges of 1 MiB are written, zeroed and discarded. The extents must follow one another, and
each zero extent must read as zeroes.
Guards: extents-unsorted.
Related: status-hole-over-dirty, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_content, expect_equal

MIB = 1 << 20


@case(
    groups="status img quick",
    formats="any",
    requires="write_zeroes discard",
    basis=("MUST: qemu-img(1), map", "MUST: NBD, Metadata contexts"),
)
def test(disk, qemu_io, qemu_img):
    with qemu_io(disk) as io:
        io.write_zeroes(2 * MIB, MIB, unmap=True)
        io.discard(5 * MIB, MIB)
        io.write(5 * MIB + 65536, 65536)
    position = 0
    for extent in qemu_img.json("map", disk.filename):
        assert extent["start"] == position, f"expected an extent at {position}, got {extent}"
        position += extent["length"]
        if extent["zero"]:
            data = disk.read_all(extent["start"], extent["length"])
            assert not data.any(), f"the zero extent at {extent['start']} contains data"
            expect_content(
                disk.shadow, extent["start"], data, f"the zero extent at {extent['start']}"
            )
    expect_equal(position, disk.size, "the end of the map")
    disk.verify()
