"""This case checks that reads of several clients at the same time return the data of their places.

How: eight connections, each with eight reads of 4 or 64 KiB at random places in flight, 32 times.
Nobody writes, and all data was written before the first of them connected, so this holds for
every server, with CAN_MULTI_CONN or without, and for read-only ones.
Guards: shared-position-read.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

CLIENTS, IN_FLIGHT, ROUNDS = 8, 8, 32
LENGTHS = (4096, 65536)


@case(groups="rw concurrent reading quick", requires="nbd", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, nbd_io, seed):
    random = seed.stream("places")
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(nbd_io(disk)) for _ in range(CLIENTS)]
        for _ in range(ROUNDS):
            for _ in range(IN_FLIGHT):
                for io in clients:
                    length = random.choice(LENGTHS)
                    io.send(Command.READ, random.randrange(0, disk.size - length + 1, 512), length)
            for io in clients:
                io.finish_all()
