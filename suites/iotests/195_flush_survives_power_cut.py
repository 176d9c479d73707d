"""This case checks that flushed data is there after a power cut, and the rest is old or new.

How: rounds of writes, zeroes and discards over old data and over one another. Half of each round is
flushed. Then the power is cut, and every sector is compared.
Guards: flush-noop, flush-one-child-only, zero-unmap-not-durable, torn-write.
Related: close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut, rounds

KIB = 1 << 10


@case(
    groups="rw flush crash quick",
    requires="flush write_zeroes discard sudden_end",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: sector-writes-are-atomic"),
)
def test(disk, qemu_io, seed):
    for round_ in rounds(6):
        io = qemu_io(disk)
        for number in range(8):
            io.write((number << 20) + round_ * 40 * KIB, 33 * KIB + 512)
        if round_ % 3 == 1:
            io.write_zeroes((round_ << 20) + 512 * KIB, 100 * KIB, unmap=True)
        elif round_ % 3 == 2:
            io.discard((round_ << 20) + 600 * KIB, 64 * KIB)
        io.flush()
        for number in range(8):
            io.write((number << 20) + round_ * 40 * KIB + 10_000, 20_000)
        cut(disk, seed + round_)
        io.abandon()
        disk.verify()
