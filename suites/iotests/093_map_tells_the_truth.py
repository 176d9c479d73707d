"""This case checks that `qemu-img map` covers a volume without a gap, and calls zero only zeroes.

How: data, zeroes, discards and stamps over them, aligned and not, then the map: in order, complete,
and each extent that is zero according to the map must be zero according to what was written.
Guards: status-hole-over-dirty, extents-unsorted, malformed-extents, status-unaligned-eof.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(groups="img status quick", formats="any", requires="block_status")
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
    assert sum(length for _, length, _ in extents) == disk.size
    end = 0
    for extent in qemu_img.json("map", disk.filename):
        assert extent["start"] == end and extent["length"] > 0, extent
        end += extent["length"]
        if extent["zero"]:
            expected = disk.shadow.expected(extent["start"], extent["length"])
            assert not any(expected), f"called zero, but holds data: {extent}"
    assert end == disk.size
    disk.verify()
