"""This case checks that block status follows every change, also one by another connection.

How: connection A asks about a range, B changes some of it, A asks again. The changes (writes,
zeroes, discards, some with FUA) begin before, at, in and behind the extents that A received, and
run into them. Neither reply may call a range zero that has data.
Guards: status-cached-per-connection, status-cache-misses-overlap, status-hole-over-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import StatusWrong, ask, joined, runs
from qbdcheck.kit.nbd import STATE_ZERO, CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

BASE, KIB, SIZE, STEPS = "base:allocation", 1 << 10, 2 << 20, 250
UNIT = 16 * KIB


@case(
    groups="protocol status concurrent quick",
    requires="raw_requests block_status",
    basis="MUST: NBD, NBD_CMD_BLOCK_STATUS",
)
def test(new_disk, nbd_io, target, seed):
    disk = new_disk(SIZE)
    random = seed.stream("changes")
    with nbd_io(disk) as one, nbd_io(disk) as other:
        one.name, other.name = "connection A", "connection B"
        pair = (one, other) if "multi_conn" in target.capabilities else (one, one)
        minimum = one.block_sizes[0]
        told = []
        for _ in range(STEPS):
            asks, changes = random.choice((pair, pair, pair[::-1]))
            if told and random.random() < 0.5:
                start, end = random.choice(told)[:2]  # an extent of an earlier reply
                end = min(end, start + 8 * UNIT)
            else:
                start = random.randrange(SIZE // UNIT - 8) * UNIT
                end = start + random.randint(1, 8) * UNIT
            told = status(asks, start, end)
            at = max(start + random.choice((-UNIT, -4096, 0, 4096, UNIT)), 0)
            change(changes, random, *widened(at, random.choice((512, 4096, 20480, UNIT)), minimum))
            for io in (changes, asks):
                told = status(io, start, end)
                must_be_zero(io, told, f"{io.name}, after a change at {at} by {changes.name}")
    disk.verify()


def must_be_zero(io, told, when):
    """Check that what is called zero reads as zeroes."""
    for first, after, flags in told:
        data = io.read(first, after - first) if flags & STATE_ZERO else b""
        if any(data):
            at = first + len(data) - len(data.lstrip(bytes(1)))
            raise StatusWrong(
                f"block status of {when}: {after - first} bytes at {first} are called zero, but"
                f" there is data at {at}"
            )


def status(io, start, end):
    """Return the map of a range, from one reply; it may end early."""
    extents = ask(io.client, start, end - start)[BASE]
    return joined(runs(start, end, extents))


def change(io, random, at, length):
    """Write, zero or discard a range."""
    fua = random.choice((0, CommandFlag.FUA)) if io.offers(TransmissionFlag.SEND_FUA) else 0
    kinds = [lambda: io.write(at, length, fua)]
    if io.offers(TransmissionFlag.SEND_TRIM):
        kinds.append(lambda: io.discard(*widened(at, length + UNIT, 4096), fua))
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        hole = random.choice((0, CommandFlag.NO_HOLE))
        kinds.append(lambda: io.write_zeroes(at, length + 3 * 4096, fua | hole))
    random.choice(kinds)()
