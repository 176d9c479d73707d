"""This case checks that a read returns the newest data, whatever was read or hinted before.

How: small reads, sequential reads and hints (CACHE) that a cache may keep; then a change that
covers them, by a small write, one with FUA, a long write or long zeroes, from this or another
connection; then the same reads. Blocks are rewritten at once, in parts and as a whole, and read
many writes later.
Guards: prefetch-hides-write, cache-hint-hides-fua, large-write-bypasses-cache,
zeroes-invalidate-in-part, eviction-restores-old, rmw-edge-cache-stale,
resync-overwrites-newer, per-client-cache-stale.
"""

from errno import EINVAL

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

KIB, MIB, BLOCK = 1 << 10, 1 << 20, 4096
SIZE, ROUNDS = 8 * MIB, 32
PARTS = ((0, 512), (512, 512), (0, BLOCK), (1024, 512))


@case(groups="rw zero quick", requires="raw_requests multi_conn", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE)
    random = seed.stream("places")
    with nbd_io(disk) as io, nbd_io(disk) as other:
        for round_ in range(ROUNDS):
            start = random.randrange(0, 3 * MIB, 64 * KIB)
            places = [start + random.randrange(0, 4 * MIB, BLOCK) for _ in range(6)]
            for place in places:
                io.read(place, BLOCK)
                if io.offers(TransmissionFlag.SEND_CACHE):
                    error = io.attempt(Command.CACHE, place, BLOCK)
                    what = f"CACHE of {BLOCK} bytes at {place}: {errno_name(error)}"
                    assert error in {0, EINVAL}, what
            for number in range(2):
                io.read(start + number * 64 * KIB, 64 * KIB)
            change(random.choice((io, other)), round_ % 5, start, places)
            io.read(start + 128 * KIB, 64 * KIB)
            for place in places:
                io.read(place, BLOCK)
        rewrite(io, random)
        io.read(0, SIZE)
    disk.verify()


def change(io, kind, start, places):
    """Change what was read, by one of five kinds of requests."""
    if kind == 0 and io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        io.write_zeroes(start, 4 * MIB)
    elif kind == 1:
        for number in range(4):
            io.write(start + number * MIB, MIB)
    else:
        has_fua = kind == 2 and io.offers(TransmissionFlag.SEND_FUA)
        for place in (*places, start + 128 * KIB):
            io.write(place, BLOCK, CommandFlag.FUA if has_fua else 0)


def rewrite(io, random):
    """Write blocks twice and three times in a row; read them after up to 150 other writes."""
    hot = random.sample(range(512), 12)
    for number in range(150):
        if number % 5 == 0 and hot:
            at = hot.pop() * BLOCK
            for _ in range(random.choice((2, 3))):
                io.write(at, BLOCK)
            for start, length in PARTS if number % 2 else ():
                io.write(*widened(at + start, length, io.block_sizes[0]))
        io.write((1024 + random.randrange(900)) * BLOCK, 512 if io.block_sizes[0] <= 512 else BLOCK)
        if number % 16 == 0:
            io.read(0, 2 * MIB)
