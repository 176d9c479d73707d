"""This case checks that the first requests after a pause are right, however many come together.

How: after pauses of 0.05 s to 1.1 s without a request, reads, writes, zeroes and flushes of one or
of two connections arrive in one piece, as from a guest that wakes up. All of them are read back.
Guards: idle-trim-zeroes-payload, woken-reads-share-buffer.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.bursts import all_at_once
from qbdcheck.kit.nbd import Command, TransmissionFlag

KIB, SIZE = 1 << 10, 4 << 20
PAUSES_S = (0.05, 0.4, 1.1, 0.4, 0.4)
LENGTHS = (4 * KIB, 4 * KIB, 12 * KIB, 64 * KIB)


@case(
    groups="concurrent rw zero quick",
    requires="raw_requests multi_conn",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE)
    random = seed.stream("requests")
    with nbd_io(disk) as one, nbd_io(disk) as two:
        commands = [Command.WRITE] * 4 + [Command.READ] * 3
        if one.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            commands.append(Command.WRITE_ZEROES)
        for seconds in PAUSES_S:
            pause(seconds)
            burst(random.choice(((one,), (one, two))), random, commands)
            one.read(0, SIZE)
    disk.verify()


def burst(connections, random, commands):
    """Send requests to different places in one piece."""
    places = random.sample(range(0, SIZE, 64 * KIB), random.choice((3, 6, 16)))
    commands = random.choice((commands, commands, [Command.READ]))
    lengths = random.choice((LENGTHS, LENGTHS[:1]))
    with all_at_once(*connections):
        for at in places:
            random.choice(connections).send(random.choice(commands), at, random.choice(lengths))
        if connections[0].offers(TransmissionFlag.SEND_FLUSH):
            random.choice(connections).send(Command.FLUSH)
