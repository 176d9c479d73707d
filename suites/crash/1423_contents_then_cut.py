"""This case checks that a flush makes data of any kind durable, also what looks like metadata.

How: blocks of all kinds that stores mistake for something else: beginnings by which journals,
images, file systems and packers recognise their own, zeroes, runs, equal checksums. They are
written, flushed, and written again without a flush. Then the server is stopped, killed or cut off
from power, as far as the target supports it, and all is read.
Guards: journal-magic-not-restored.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_contents import BLOCK, MAGICS, kinds, look_alikes
from qbdcheck.kit.server_ends import end, ways_of

COUNT = 160


@case(
    groups="flush crash rw quick", requires="raw_requests flush", basis="MUST: NBD, NBD_CMD_FLUSH"
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(COUNT * BLOCK)
    for number, way in enumerate(ways_of(disk) or ["nothing"]):
        random = seed.stream(way)
        with nbd_io(disk) as io:
            blocks = all_blocks(random)
            places = random.sample(range(COUNT), len(blocks))
            for at, data in zip(places, blocks, strict=True):
                io.write(at * BLOCK, BLOCK, data=data)
            io.flush()
            if number % 2:
                for at in places[::5]:
                    io.write(at * BLOCK, BLOCK)
            io.read(0, disk.size)
        if way != "nothing":
            end(disk, way, seed + number)
        with nbd_io(disk) as io:
            io.read(0, disk.size)
        disk.verify()


def all_blocks(random):
    """Return blocks of all kinds, in random order."""
    blocks = [magic + random.randbytes(BLOCK - len(magic)) for magic in MAGICS]
    blocks += [magic.ljust(BLOCK, b"\0") for magic in MAGICS]
    blocks += [make() for make in kinds(random) for _ in range(3)]
    blocks += [one for _, pair in look_alikes(random) for one in pair]
    random.shuffle(blocks)
    return blocks
