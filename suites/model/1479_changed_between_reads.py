"""This case checks that a place that was read and changed is new, whatever is read meanwhile.

How: a place is read, and changed in part or whole, once or twice. Then 1 to 200 other places are
read, and in most rounds there is a flush. The place and some that were changed before are read
again, from the same and from another connection, in requests of the same and of other lengths.
Guards: read-batch-cached-late, long-reads-cached-at-flush.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

KIB, SIZE, ROUNDS = 1 << 10, 4 << 20, 40
LENGTHS = (4 * KIB, 4 * KIB, 512, 16 * KIB, 64 * KIB)
OTHERS = (1, 1, 9, 40, 40, 200)


@case(
    groups="rw zero discard quick",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE)
    random = seed.stream("places")
    changed = []
    with nbd_io(disk) as one, nbd_io(disk) as two:
        for _ in range(ROUNDS):
            io, other = random.choice(((one, two), (two, one), (one, one)))
            _, length = widened(0, random.choice(LENGTHS), io.block_sizes[0])
            places = range(0, SIZE, length)
            at = random.choice(places)
            io.read(at, length)
            for _ in range(random.choice((1, 1, 2))):
                change(other, random, at, length)
            for place in random.sample(places, min(random.choice(OTHERS), len(places))):
                io.read(place, length)
            if random.random() < 0.6:
                other.flush()
            changed.append((at, length))
            for place in (changed[-1], *random.sample(changed, min(3, len(changed)))):
                for reader in (one, two):
                    read(reader, random, *place)
    disk.verify()


def read(io, random, at, length):
    """Read a place as it was written, or in parts, or with what is around it."""
    part = random.choice((length, length, 4 * KIB, 64 * KIB))
    part = widened(0, part, io.block_sizes[0])[1]
    start = at // part * part
    for each in range(start, max(at + length, start + part), part):
        io.read(each, part)


def change(io, random, at, length):
    """Write, zero or discard the place or a part of it."""
    part = random.choice((length, max(length // 4, 512)))
    place = widened(at + random.randrange(0, length - part + 1, 512), part, io.block_sizes[0])
    kinds = [io.write, io.write]
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        kinds.append(io.write_zeroes)
    if io.offers(TransmissionFlag.SEND_TRIM):
        kinds.append(io.discard)
    random.choice(kinds)(*place)
