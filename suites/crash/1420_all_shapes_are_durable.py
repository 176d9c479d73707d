"""This case checks that what must survive a power cut survives it, whatever its shape and place.

How: writes of all sizes over a volume of 24 MiB from two connections, up to 200 and up to 10 MiB
between flushes, the last one short; a flush from either connection. Then writes with FUA: long
ones, parts of blocks, directly behind plain ones, into places that were never written. Then the
power is cut, and the next round begins at once.
Guards: flush-covers-newest-segment, flush-of-first-part, log-wraps-over-unflushed,
flush-after-recovery-skipped, fua-first-part-only, fua-lost-on-part-block, fua-lost-in-merge,
fua-without-map, flush-of-other-queue, flush-leaves-tail-page, flush-noop, fua-write-ack-early.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import CommandFlag
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.server_ends import cut, rounds

KIB, MIB = 1 << 10, 1 << 20
SIZE, ROUNDS = 24 * MIB, 4
FUA = CommandFlag.FUA


@case(
    groups="flush crash rw quick",
    requires="raw_requests flush fua multi_conn sudden_end",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE, prefill=False)
    random = seed.stream("places")
    for round_ in rounds(ROUNDS):
        with nbd_io(disk) as io, nbd_io(disk) as other:
            minimum = io.block_sizes[0]
            for _ in range(random.choice((3, 100, 200))):
                length = random.choice((100, 512, 4096, 12 * KIB))
                place = random.randrange(SIZE - MIB), length
                random.choice((io, other)).write(*widened(*place, minimum))
            for number in range(9 if round_ % 2 else 0):
                random.choice((io, other)).write((number * 2 + round_) % 20 * MIB, MIB)
            random.choice((io, other)).write(*widened(random.randrange(MIB), 100, minimum))
            random.choice((io, other)).flush()
            for number in range(12):
                write_with_fua(io, random, number % 4, minimum)
            cut(disk, seed + round_)
        disk.verify()


def write_with_fua(io, random, shape, minimum):
    """Write with FUA in one of four shapes."""
    at = random.randrange(0, SIZE - MIB, 64 * KIB)
    if shape == 0:
        io.write(at, 200 * KIB, FUA)
    elif shape == 1:
        io.write(*widened(at + 512, 1024, minimum), FUA)
    elif shape == 2:
        io.write(at, 8 * KIB)
        io.write(at + 8 * KIB, 8 * KIB, FUA)
    else:
        io.write(at, 4096, FUA)
