"""This case checks that a power cut anywhere in a random workload loses nothing durable.

How: writes (also with FUA), zeroes, discards and flushes of any length and offset, with a cut every
few requests. After each cut every sector is read; what was read must stay from then on.
Guards: flush-noop, zero-unmap-not-durable, torn-write.
Related: fua-write-ack-early, close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.server_ends import cut, rounds

KINDS = ("write", "write", "write", "fua", "zero", "discard", "flush")


@case(
    groups="rw flush crash quick",
    requires="flush write_zeroes discard sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: sector-writes-are-atomic"),
)
def test(new_disk, qemu_io, seed):
    disk = new_disk("1M")
    random, unit = seed.stream("workload"), minimum_block(disk)
    for round_ in rounds(8):
        io = qemu_io(disk)
        for _ in range(random.randrange(1, 16)):
            kind = random.choice(KINDS)
            length = random.choice((512, 700, 4096, 10_000, 65_536))
            offset = random.randrange(0, disk.size - length)
            if kind == "flush":
                io.flush()
            elif kind == "zero":
                io.write_zeroes(offset, length, unmap=random.random() < 0.5)
            elif kind == "discard":
                end = (offset + length) // unit * unit
                start = min(-(-offset // unit) * unit, end)
                io.discard(start, end - start)
            else:
                io.write(offset, length, fua=kind == "fua")
        cut(disk, seed + round_)
        io.abandon()
        disk.verify()
