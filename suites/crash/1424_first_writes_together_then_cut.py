"""This case checks that a flush covers writes that were in flight together.

How: two connections write units of 64 KiB next to each other and far apart, many in flight, whole
and in parts. Some were never written, some were before. When all are acknowledged, one connection
flushes, and the power is cut: nothing may be missing.
Guards: concurrent-map-update-lost.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.server_ends import cut, rounds

UNIT, ROUNDS, DEPTH, MIB = 65536, 5, 12, 1 << 20


@case(
    groups="flush crash concurrent quick",
    requires="raw_requests flush multi_conn sudden_end",
    basis="MUST: NBD, NBD_CMD_FLUSH",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(8 * MIB, prefill=False)
    random = seed.stream("places")
    for round_ in rounds(ROUNDS):
        with nbd_io(disk) as io, nbd_io(disk) as other:
            units = random.sample(range(disk.size // UNIT), 2 * DEPTH)
            for _ in range(DEPTH):
                for one in (io, other):
                    at, length = random.choice(((0, UNIT), (4096, 4096), (8192, 20_480)))
                    one.send(Command.WRITE, units.pop() * UNIT + at, length)
            io.finish_all()
            other.finish_all()
            random.choice((io, other)).flush()
            cut(disk, seed + round_)
        with nbd_io(disk) as io:
            for start, length in disk.shadow.used():
                io.read(start, length)
    disk.verify()
