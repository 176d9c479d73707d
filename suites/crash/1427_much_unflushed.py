"""This case checks that data is right however much is unflushed: before, after and between flushes.

How: writes from 4 KiB to 1 MiB until 1, 5 or 9 MiB are unflushed; then small changes inside them,
of the oldest, of the newest, and of what was changed just before. They are read, flushed, and read
again from another connection. Then the power is cut, if the target can: nothing is pending.
Guards: write-through-limit-undone, flush-covers-newest-segment, log-wraps-over-unflushed,
fua-destaged-over, gc-restores-old, writeback-in-offset-order.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import CommandFlag, TransmissionFlag
from qbdcheck.kit.server_ends import cut

KIB, MIB = 1 << 10, 1 << 20
SIZE, AMOUNTS = 12 * MIB, (5 * MIB, MIB, 9 * MIB)
LENGTHS = (4 * KIB, 64 * KIB, 256 * KIB, MIB)
PARTS = (512, 4 * KIB, 8 * KIB, 64 * KIB)


@case(
    groups="rw flush zero crash quick",
    requires="raw_requests flush multi_conn",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, nbd_io, target, seed):
    disk = new_disk(SIZE, prefill=False)
    random = seed.stream("places")
    for round_, amount in enumerate(AMOUNTS):
        with nbd_io(disk) as io, nbd_io(disk) as other:
            places, total = [], 0
            while total < amount:
                length = random.choice(LENGTHS)
                places.append((random.randrange(0, SIZE - length, 4 * KIB), length))
                io.write(*places[-1])
                total += length
            changed = [change(io, random, places) for _ in range(40)]
            for place in changed:
                io.read(*place)
            io.flush()
            for start in range(0, SIZE, 4 * MIB):
                other.read(start, 4 * MIB)
            if "sudden_end" in target.capabilities:
                cut(disk, seed + round_)
        disk.verify()


def change(io, random, places):
    """Change a part of an unflushed write; return the place."""
    at, length = random.choice((places[0], places[-1], random.choice(places)))
    part = min(length, random.choice(PARTS))
    place = at + random.randrange(0, length - part + 1, min(part, 4 * KIB)), part
    kind = random.randrange(6)
    if kind == 0 and io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        io.write_zeroes(*place)
    else:
        has_fua = kind == 1 and io.offers(TransmissionFlag.SEND_FUA)
        io.write(*place, CommandFlag.FUA if has_fua else 0)
    places.append(place)
    return place
