"""This case checks that requests are answered and right however many a client sends at once.

How: one connection sends 500 small writes in one piece, then 200 small reads, then 48 writes of
64 KiB, then 8 of 1 MiB, twice: more than the queues and buffers of most stores have room for. A
server may answer later, but not with an error, and not with the data of another request. The whole
volume is read after each of them.
Guards: full-queue-refuses, queue-full-swaps-data.
"""

from qbdcheck.kit import case
from qbdcheck.kit.bursts import all_at_once
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import widened

MIB, KIB = 1 << 20, 1 << 10
SMALL, READS, LARGE, HUGE = 500, 200, 48, 8


@case(
    groups="concurrent rw quick",
    requires="raw_requests",
    basis=("MUST: NBD, Transmission", "MUST: NBD, NBD_CMD_WRITE"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(8 * MIB)
    random = seed.stream("places")
    with nbd_io(disk) as io:
        _, small = widened(0, 512, io.block_sizes[0])
        _, large = widened(0, 64 * KIB, io.block_sizes[0])
        large, huge = min(large, io.longest_sure), min(MIB, io.longest_sure)
        for command, length, most in (
            (Command.WRITE, small, SMALL),
            (Command.READ, small, min(READS, 100 * KIB // small)),
            (Command.WRITE, large, LARGE),
            *[(Command.WRITE, huge, HUGE)] * 2,
        ):
            places = list(range(0, disk.size - length + 1, length))
            with all_at_once(io):
                for at in random.sample(places, min(most, len(places))):
                    io.send(command, at, length)
            for at in range(0, disk.size, MIB):  # the next writes would hide what is wrong
                io.read(at, MIB)
