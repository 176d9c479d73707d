"""This case checks that requests in flight that free, take and copy space lose nothing.

How: first changes of many parts of a fresh clone are in flight together, from two connections; all
of the clone and of its snapshot is read. Then rounds on a volume of which a part is unused: zeroes
and discards of what has data, flushes, and first writes to unused places are in flight together.
Neither overlaps another one. The whole volume is read after each round.
Guards: clone-table-race, clone-zeroes-race, late-punch-hits-new-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.bursts import all_at_once
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag

KIB, MIB = 1 << 10, 1 << 20
SIZE, UNIT, ROUNDS = 6 * MIB, 64 * KIB, 12
CLONES = (MIB, UNIT, MIB)
LENGTHS = (4 * KIB, 20 * KIB, UNIT)


@case(
    groups="concurrent rw zero discard snapshot quick",
    requires="raw_requests multi_conn",
    basis=(
        "MUST: NBD, NBD_CMD_WRITE",
        "POLICY: discard-old-or-zero",
        "POLICY: clone-is-independent",
    ),
)
def test(new_disk, nbd_io, target, seed):
    random = seed.stream("requests")
    if {"snapshot_read", "clone"} <= set(target.capabilities):
        disk = new_disk(SIZE)
        snapshot = disk.snapshot("full")
        for number, unit in enumerate(CLONES):
            clone = snapshot.clone(f"clone{number}")
            with nbd_io(clone) as io, nbd_io(clone) as other:
                first_writes(io, other, random, unit)
                for one in (clone, snapshot):
                    one.verify()
    disk = new_disk(SIZE, prefill=False)
    with nbd_io(disk) as io, nbd_io(disk) as other:
        for _ in range(ROUNDS):
            exchange(io, other, random)
            io.read(0, SIZE)
    disk.verify()


def first_writes(io, other, random, unit):
    """Write a part of each unit or free it; the requests of both connections are in flight."""
    places = random.sample(range(0, SIZE, unit), SIZE // unit)
    for start in range(0, len(places), 16):
        some = places[start : start + 16]
        with all_at_once(io, other):
            for number, at in enumerate(some):
                sender = (io, other)[number % 2]
                if random.random() < 0.25:
                    free(sender, random, at, unit)
                    continue
                length = random.choice(LENGTHS)
                inside = random.randrange(0, unit - length + 1, 4 * KIB)
                sender.send(Command.WRITE, at + inside, length)


def exchange(io, other, random):
    """Fill some units, free them, and write for the first time to others, with flushes."""
    units = random.sample(range(0, SIZE, UNIT), 24)
    old, new = units[:8], units[8:]
    for at in new:
        io.finish(free(io, random, at))
    for at in old:
        io.write(at, UNIT)
    with all_at_once(io, other):
        sends = [lambda at=at: free(random.choice((io, other)), random, at) for at in old]
        sends += [lambda at=at: first(random.choice((io, other)), random, at) for at in new]
        if io.offers(TransmissionFlag.SEND_FLUSH):
            sends += [lambda: random.choice((io, other)).send(Command.FLUSH)] * 6
        random.shuffle(sends)
        for send in sends:
            send()


def first(io, random, at):
    length = random.choice(LENGTHS)
    io.send(Command.WRITE, at + random.randrange(0, UNIT - length + 1, 4 * KIB), length)


def free(io, random, at, length=UNIT):
    """Send a discard or zeroes of a unit, or a write if neither is offered; return its cookie."""
    kinds = [(Command.WRITE, 0)]
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        kinds = [(Command.WRITE_ZEROES, 0), (Command.WRITE_ZEROES, CommandFlag.NO_HOLE)]
    if io.offers(TransmissionFlag.SEND_TRIM):
        kinds = [*kinds, *[(Command.TRIM, 0)] * 2]
    command, flags = random.choice(kinds)
    return io.send(command, at, length, flags)
