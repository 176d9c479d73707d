"""This case checks that equal data in flight is written to each place, and stays there.

How: two to four writes of the same data are in flight, at places of one or of two connections. When
the first reply comes, its place is overwritten, zeroed or discarded at once, while the others are
still in flight. All places are read, and again after a flush.
Guards: dedup-links-before-done.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened

KIB, SIZE, ROUNDS = 1 << 10, 2 << 20, 150
LENGTHS = (4 * KIB, 4 * KIB, 8 * KIB, 64 * KIB)


@case(
    groups="concurrent rw zero discard quick",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, NBD_CMD_WRITE", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE)
    random = seed.stream("places")
    with nbd_io(disk) as one, nbd_io(disk) as two:
        for round_ in range(ROUNDS):
            _, length = widened(0, random.choice(LENGTHS), one.block_sizes[0])
            places = random.sample(range(0, SIZE, length), random.choice((2, 2, 3, 4)))
            data = disk.shadow.stamped(places[0], length)
            cookies = []
            for at in places:
                io = random.choice((one, one, two))
                cookies.append((io, io.send(Command.WRITE, at, length, data=data)))
            io, cookie = cookies[0]
            io.finish(cookie)
            change(io, random, places[0], length)
            for io in (one, two):
                io.finish_all()
            for at in places:
                one.read(at, length)
            if round_ % 10 == 9:
                two.flush()
                two.read(0, SIZE)
    disk.verify()


def change(io, random, at, length):
    """Send a change of the place, and do not wait."""
    kinds = [Command.WRITE] * 2
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        kinds.append(Command.WRITE_ZEROES)
    if io.offers(TransmissionFlag.SEND_TRIM):
        kinds.append(Command.TRIM)
    io.send(random.choice(kinds), at, length)
