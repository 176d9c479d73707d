"""This case checks that a small write is not lost behind a large one that was acknowledged before.

How: a large write is answered. At once a small write or zeroes hit the same place, on
the same and on another connection. The newest data must be there.
Guards: small-overtakes-large.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag

KIB, ROUNDS = 1 << 10, 60


@case(
    groups="rw concurrent quick",
    requires="raw_requests",
    basis="MUST: NBD, Ordering of messages and writes",
)
def test(new_disk, nbd_io, target, seed):
    disk = new_disk("1M")
    random = seed.stream("places")
    with nbd_io(disk) as one, nbd_io(disk) as other:
        both = (one, other) if "multi_conn" in target.capabilities else (one, one)
        minimum = max(512, one.block_sizes[0])
        for _ in range(ROUNDS):
            length = random.choice((16, 64, 256)) * KIB
            at = random.randrange(0, disk.size - length, 4 * KIB)
            random.choice(both).write(at, length)
            io = random.choice(both)
            place = (
                at + random.randrange(0, length, 4 * KIB),
                random.choice((min(minimum, 4 * KIB), 4 * KIB)),
            )
            kinds = [Command.WRITE, Command.WRITE]
            if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
                kinds.append(Command.WRITE_ZEROES)
            io.send(random.choice(kinds), *place)
            io.finish_all()
            random.choice(both).read(at, length)
    disk.verify()
