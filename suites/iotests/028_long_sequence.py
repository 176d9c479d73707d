"""This case checks that a long random sequence of requests leaves exactly what it wrote.

How: 300 reads, writes, zeroes and flushes from the seed, many on a few hot places, most unaligned.
Each read is compared at once, and every sector at the end.
Guards: phantom-write, misdirected-write, silent-bit-flip, write-zeroes-noop.
"""

from qbdcheck.kit import case


@case(
    groups="rw",
    formats="any",
    requires="write_zeroes",
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, NBD_CMD_WRITE_ZEROES"),
)
def test(disk, qemu_io, seed):
    chance = seed.stream("workload")
    hot = [chance.randrange(disk.size) for _ in range(8)]
    with qemu_io(disk) as io:
        for _ in range(300):
            length = chance.choice((1, 511, 512, 4096, 10_000, 65_536))
            offset = chance.choice(hot) if chance.random() < 0.5 else chance.randrange(disk.size)
            offset = min(
                offset - chance.choice((0, offset % 512, offset % 4096)), disk.size - length
            )
            request = chance.choices(("write", "read", "zero", "flush"), (6, 3, 2, 1))[0]
            if request == "write":
                io.write(offset, length, fua=chance.random() < 0.1)
            elif request == "read":
                io.read(offset, min(length, 10_000))
            elif request == "zero":
                io.write_zeroes(offset, length, unmap=chance.random() < 0.5)
            else:
                io.flush()
    disk.verify()
