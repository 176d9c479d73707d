"""This case checks that none of thousands of power cuts loses what a flush or FUA made durable.

How: a few writes, zeroes and discards in two places a MiB apart; mostly a flush; some more, half of
them with FUA; then a power cut. After each cut every sector must have a permitted content, with
which the next round starts.
Guards: flush-noop, fua-write-ack-early, fua-lost-on-trim, flush-one-child-only,
zero-unmap-not-durable, destage-reorder, torn-write, journal-slot-overlap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import CommandFlag

MIB, UNITS, CUTS = 1 << 20, 32, 6000
KINDS = ("write", "write", "zero", "discard")


@case(
    groups="rw flush crash slow nightly",
    requires="raw_requests flush fua write_zeroes discard crash",
    limit_s=400,
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, Command flags",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(new_disk, nbd_io, target, seed):
    other, units = MIB * target.scale, max(10, UNITS // target.scale)
    disk = new_disk(2 * other)
    random = seed.stream("cuts")
    for number in range(CUTS):
        with nbd_io(disk) as io:
            unit = max(512, io.block_sizes[0])
            for start in (0, other):
                io.read(start, units * unit)
            for _ in range(random.randrange(1, 4)):
                change(io, random, (0, other), units, fua=False)
            if random.random() < 0.8:
                io.flush()
            for _ in range(random.randrange(4)):
                change(io, random, (0, other), units, fua=random.random() < 0.5)
            disk.backend.crash(seed=seed + number)
    disk.verify()


def change(io, random, starts, units, fua):
    """Change some blocks."""
    unit = max(512, io.block_sizes[0])
    length = unit * random.randrange(1, 9)
    offset = random.choice(starts) + unit * random.randrange(units - 8)
    flags = CommandFlag.FUA if fua else 0
    kind = random.choice(KINDS)
    if kind == "write":
        io.write(offset, length, flags)
    elif kind == "zero":
        io.write_zeroes(offset, length, flags)
    else:
        io.discard(offset, length, flags)
