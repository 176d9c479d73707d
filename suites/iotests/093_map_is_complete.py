"""This case checks that `qemu-img map` covers a volume without a gap, and calls only zeroes zero.

How: data, zeroes and stamps over them, aligned and unaligned. The map must be in order and
complete, and each of its zero extents must be zero according to what was written.
Guards: extents-unsorted.
Related: status-hole-over-dirty, malformed-extents, status-unaligned-eof.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal

KIB, MIB = 1 << 10, 1 << 20


@case(
    groups="img status quick",
    formats="any",
    requires="block_status",
    basis=("MUST: qemu-img(1), map", "MUST: NBD, Metadata contexts"),
)
def test(disk, qemu_io, qemu_img):
    with qemu_io(disk) as io:
        io.write_zeroes(0, 64 * KIB, unmap=True)
        io.write_zeroes(1 * MIB + 512, 300 * KIB, unmap=True)
        io.write(1 * MIB + 64 * KIB, 512)
        io.write_zeroes(3 * MIB, 5 * MIB, unmap=True)
        for place in range(20):
            io.write(4 * MIB + 128 * KIB * place + 512 * place, 512 * (1 + place))
        io.write(8 * MIB - 1, 1, pattern=7)
        extents = io.map()
    expect_equal(
        sum(length for _, length, _ in extents),
        disk.size,
        "the sum of the extents of qemu-io's map",
    )
    end = 0
    for extent in qemu_img.json("map", disk.filename):
        assert extent["start"] == end and extent["length"] > 0, (
            f"expected an extent at {end}, got {extent}"
        )
        end += extent["length"]
        if extent["zero"]:
            expected = disk.shadow.expected(extent["start"], extent["length"])
            assert not any(expected), f"the zero extent {extent} contains data"
    expect_equal(end, disk.size, "the end of the map")
    disk.verify()
