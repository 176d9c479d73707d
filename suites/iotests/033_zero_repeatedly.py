"""This case checks that any order of zeroing and writing leaves the result of the last request.

How: 60 rounds over overlapping ranges from the seed, with and without unmap, then a reopen.
Guards: write-zeroes-noop.
Related: sparse-tail-dropped, alloc-map-rounding-reads-zero.
"""

from qbdcheck.kit import case


@case(
    groups="rw quick zero",
    requires="write_zeroes",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "MUST: NBD, NBD_CMD_READ"),
)
def test(disk, qemu_io, seed):
    chance = seed.stream("ranges")
    with qemu_io(disk) as io:
        for number in range(60):
            start = chance.randrange(0, disk.size - (300 << 10))
            length = chance.choice((1, 700, 4096, 30000, 65536, 262144))
            if number % 2:
                io.write(start, min(length, 70000))
            else:
                io.write_zeroes(start, length, unmap=chance.random() < 0.5)
    disk.verify()
    with qemu_io(disk, read_only=True) as io:
        io.read(0, 64 << 10)
