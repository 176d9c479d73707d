"""This case checks that no block is taken for another one, for zeroes, or for an old version.

How: pairs of blocks that a weak comparison takes for equal (sums, XOR, Adler-32, CRC-32, the first
or the last bytes, all but one bit). One is written over the other, beside it, and back again.
Blocks of one more kind each: words that add up to zero, runs, ends of zeroes, magic numbers; each
over data and over each other. Written zeroes are changed in parts. One block is written 300 times.
Guards: dedup-by-crc, shared-zero-page-written, version-byte-wraps.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_contents import BLOCK, kinds, look_alikes
from qbdcheck.kit.nbd_requests import widened

BLOCKS, VERSIONS = 128, 300


@case(groups="rw zero quick", requires="raw_requests", basis="MUST: NBD, NBD_CMD_WRITE")
def test(new_disk, nbd_io, seed):
    disk = new_disk(BLOCKS * BLOCK)
    random = seed.stream("contents")
    with nbd_io(disk) as io:
        for _name, (one, other) in look_alikes(random):
            here, there = (at * BLOCK for at in random.sample(range(BLOCKS), 2))
            for at, data in ((here, one), (here, other), (there, one), (here, one), (there, other)):
                io.write(at, BLOCK, data=data)
                io.read(at, BLOCK)
            io.read(here, BLOCK)
        for make in kinds(random) * 2:
            data = b"".join(make() for _ in range(8))
            for at in (random.randrange(BLOCKS - 9) * BLOCK for _ in range(2)):
                start = at + random.choice((0, 0, max(512, io.block_sizes[0]) % BLOCK))
                io.write(start, len(data), data=data)
                io.read(start, len(data))
        change_zeroes(io, random)
        at = random.randrange(BLOCKS - 1) * BLOCK
        for number in range(VERSIONS):
            io.write(at, BLOCK)
            if number % 50 == 0 or number > VERSIONS - 3:
                io.read(at, BLOCK)
        for _ in range(VERSIONS):
            io.write(*widened(at + BLOCK, 512, io.block_sizes[0]))
        io.read(0, disk.size)
    disk.verify()


def change_zeroes(io, random):
    """Write zeroes to blocks, then change one after the other in a part or as a whole."""
    places = random.sample(range(BLOCKS), 24)
    for at in places:
        io.write(at * BLOCK, BLOCK, data=bytes(BLOCK))
    for at in places[:16]:
        length = random.choice((100, 512, 1024, BLOCK))
        io.write(
            *widened(at * BLOCK + random.randrange(BLOCK - length + 1), length, io.block_sizes[0])
        )
        io.read(random.choice(places) * BLOCK, BLOCK)
    io.read(0, BLOCKS * BLOCK)
