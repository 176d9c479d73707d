"""This case checks that requests in flight together reach their own place in a connection's volume.

How: one connection to a server that gives each connection a volume of its own. Writes, zeroes and
reads of all lengths, inside blocks and across their ends, are in flight together. None of them
overlap. Some blocks are new, others are written for the second time. Each read, and a read of all
in the end, must have what was written there.
Guards: shared-cursor-race, misdirected-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_io import NbdIo

KIB, SLOT, SLOTS, ROUNDS, IN_FLIGHT = 1 << 10, 48 << 10, 128, 20, 24


@case(
    groups="rw zero concurrent quick",
    requires="nbd volume_per_connection",
    basis=("MUST: NBD, NBD_CMD_WRITE", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, nbd, seed):
    disk = new_disk(SLOT * SLOTS, prefill=False)
    random = seed.stream("requests")
    with NbdIo(nbd(disk), disk.shadow) as io:
        kinds = [Command.WRITE, Command.WRITE, Command.READ]
        if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            kinds.append(Command.WRITE_ZEROES)
        for _ in range(ROUNDS):
            for slot in random.sample(range(SLOTS), IN_FLIGHT):
                start = slot * SLOT + random.randrange(0, 8 * KIB, 512)
                length = random.choice((512, 4 * KIB, 12 * KIB + 512, 32 * KIB))
                io.send(random.choice(kinds), start, length)
            io.finish_all()
        io.read(0, disk.size)
