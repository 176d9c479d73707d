"""This case checks that requests in flight that free, take and copy space lose nothing.

How: first changes of many parts of a fresh clone, and reads beside them, are in flight together,
from two connections; all of the clone and of its snapshot is read. Then rounds on a volume of which
a part is unused: zeroes and discards of data, flushes, and first writes to unused places are in
flight together. None overlaps another one. The whole volume is read after each round.
Guards: clone-table-race, clone-zeroes-race, late-punch-hits-new-data, stripe-fetched-twice,
hydration-undoes-zeroes.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.bursts import all_at_once
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag

KIB, MIB = 1 << 10, 1 << 20
SIZE, UNIT, ROUNDS = 6 * MIB, 64 * KIB, 12
CLONES = (MIB, UNIT, MIB, MIB)
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
                first_changes(io, other, random, unit)
                pause(0.1)  # what is copied in the background comes later
                for one in (clone, snapshot):
                    one.verify()
    disk = new_disk(SIZE, prefill=False)
    with nbd_io(disk) as io, nbd_io(disk) as other:
        for _ in range(ROUNDS):
            exchange(io, other, random)
            io.read(0, SIZE)
    disk.verify()


def first_changes(io, other, random, unit):
    """Write a part of each unit or free it; read another part of some of them at that time."""
    with all_at_once(io, other):
        for at in random.sample(range(0, SIZE, unit), SIZE // unit):
            first_change(*random.sample((io, other), 2), random, at, unit)


def first_change(io, other, random, at, unit):
    if random.random() < 0.4:
        free(io, random, at, unit)
        return
    half = unit // 2
    length, count = (min(random.choice(LENGTHS), half) for _ in range(2))
    halves = random.sample((at, at + half), 2)
    if random.random() < 0.5 and half >= io.block_sizes[0]:
        other.send(Command.READ, halves[1], count)
    io.send(Command.WRITE, halves[0] + random.randrange(0, half - length + 1, 4 * KIB), length)


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
