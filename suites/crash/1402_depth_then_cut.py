"""This case checks that a flush at depth covers each write before it when power fails at its reply.

How: 65 and 160 writes of 512 bytes to 32 KiB in flight; all are answered. Then FLUSH, with
further writes right behind it. The power is cut as soon as the reply to FLUSH arrives. The first
writes are there, the others old or new.
Guards: flush-covers-last-64, flush-skips-large-at-depth, flush-noop.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.server_ends import cut

KIB = 1 << 10
SLOTS = 200
SIZES = (512, 4096, 16 * KIB, 16 * KIB + 512, 20 * KIB, 32 * KIB)


@case(
    groups="rw flush concurrent crash quick",
    requires="raw_requests flush sudden_end",
    basis="MUST: NBD, NBD_CMD_FLUSH",
)
def test(new_disk, nbd_io, target, seed):
    size = max(32 * KIB, target.minimum_block)
    disk = new_disk(SLOTS * size)
    for round_, depth in enumerate((65, 160)):
        random = seed.stream(f"depth {depth}")
        io = nbd_io(disk)
        places = random.sample(range(SLOTS), depth + 32)
        for slot in places[:depth]:
            send(io, random, slot, size)
        io.finish_all()
        flush = io.send(Command.FLUSH)
        for slot in places[depth:]:
            send(io, random, slot, size)
        io.finish(flush)
        cut(disk, seed + round_)
        io.client.sock.close()
        disk.verify()


def send(io, random, slot, size):
    length = random.choice(SIZES)
    at = random.randrange(0, size - length + 1, 512)
    io.send(Command.WRITE, slot * size + at, length)
