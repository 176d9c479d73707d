"""This case checks that zeroes of a large block stay, also while the old data is written back.

How: in each round, parts of a dozen blocks of 4 MiB are written; a burst of writes to other places
fills a write-back cache; 0 to 60 ms later the whole blocks are zeroed or discarded, in flight
together. What was written is read again when the bursts have displaced it from a small cache. At
the end all of the volume is read.
Guards: late-object-undoes-zeroes.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.bursts import all_at_once
from qbdcheck.kit.nbd import Command, TransmissionFlag

KIB, MIB = 1 << 10, 1 << 20
BLOCK, BLOCKS, TOGETHER, ROUNDS = 4 * MIB, 24, 12, 40
LENGTH, UNIT, STREAM, LINES = 4 * KIB, 64 * KIB, 16 * MIB, 40
PAUSES_S = (0, 0.002, 0.006, 0.02, 0.06)


@case(
    groups="concurrent rw zero discard",
    requires="raw_requests multi_conn write_zeroes",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "POLICY: discard-old-or-zero"),
)
def test(new_disk, nbd_io, seed):
    random = seed.stream("requests")
    disk = new_disk(BLOCKS * BLOCK + STREAM, prefill=False)
    written = {at: at for at in range(0, BLOCKS * BLOCK, BLOCK)}
    with nbd_io(disk) as io, nbd_io(disk) as stream:
        for _ in range(ROUNDS):
            blocks = random.sample(sorted(written), TOGETHER)
            for at in blocks:
                io.read(written[at], LENGTH)
                written[at] = at + random.randrange(0, BLOCK, LENGTH)
                io.write(written[at], LENGTH)
            write_back(stream, random)
            pause(random.choice(PAUSES_S))
            with all_at_once(io):
                for at in blocks:
                    io.send(random.choice(freeing(io)), at, BLOCK)
    disk.verify()


def write_back(stream, random):
    """Have many writes in flight, to places of their own."""
    stream.finish_all()
    size = stream.client.size
    for at in random.sample(range(size - STREAM, size, UNIT), LINES):
        stream.send(Command.WRITE, at, LENGTH)


def freeing(io):
    """Return the commands that free a block."""
    zeroes = [Command.WRITE_ZEROES] * 2
    return [*zeroes, Command.TRIM] if io.offers(TransmissionFlag.SEND_TRIM) else zeroes
