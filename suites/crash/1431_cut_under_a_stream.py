"""This case checks that flushed data survives a cut under a stream of writes, and the next cut.

How: small writes all over the volume, and a flush. Then a stream of writes, two or three times the
volume, every second long one with FUA: what keeps its data in a log must clean it up meanwhile,
while newer data of some places is not durable. The power is cut with writes in flight. After the
restart a few writes, a flush, and the power is cut at once: what is added behind a torn end of a
log must be found again. Everything is read after each cut.
Guards: flush-noop, gc-restores-old.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag, TransmissionFlag
from qbdcheck.kit.server_ends import cut, rounds

KIB, MIB = 1 << 10, 1 << 20
SIZE, ROUNDS, DEPTH = 4 * MIB, 3, 8
LENGTHS = (64 * KIB, 256 * KIB, MIB)


@case(
    groups="flush crash concurrent quick",
    requires="raw_requests flush sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: sector-writes-are-atomic"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE, prefill=False)
    random = seed.stream("places")
    for round_ in rounds(ROUNDS, least=2):
        io = nbd_io(disk)
        scatter(io, random, 40)
        stream(io, random, random.choice((8, 12)) * MIB)
        cut(disk, seed + 2 * round_)  # with writes in flight
        io.client.sock.close()
        read_all(nbd_io, disk)
        with nbd_io(disk) as io:
            scatter(io, random, 10)
            cut(disk, seed + 2 * round_ + 1)
        read_all(nbd_io, disk)
    disk.verify()


def scatter(io, random, count):
    """Write to places all over the volume, and flush."""
    for _ in range(count):
        length = random.choice((4 * KIB, 12 * KIB, 64 * KIB))
        io.write(random.randrange(0, SIZE - length, 4 * KIB), length)
    io.flush()


def stream(io, random, amount):
    """Write many bytes without a flush, and leave writes in flight.

    Between the long writes come small ones to places that were flushed, which are changed no more.
    """
    flying = []
    while amount > 0:
        is_small = random.random() < 0.2
        length = 4 * KIB if is_small else min(random.choice(LENGTHS), io.longest_sure)
        at = random.randrange(0, SIZE - length + 1, 4 * KIB)
        while any(at < start + count and start < at + length for _, start, count in flying):
            io.finish(flying.pop(0)[0])
        has_fua = not is_small and random.random() < 0.5 and io.offers(TransmissionFlag.SEND_FUA)
        cookie = io.send(Command.WRITE, at, length, CommandFlag.FUA if has_fua else 0)
        flying.append((cookie, at, length))
        if len(flying) >= DEPTH:
            io.finish(flying.pop(0)[0])
        amount -= length


def read_all(nbd_io, disk):
    """Read the volume over a new connection."""
    with nbd_io(disk) as io:
        for start in range(0, SIZE, MIB):
            io.read(start, MIB)
