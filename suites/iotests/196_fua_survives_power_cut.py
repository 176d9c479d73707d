"""This case checks that each change with FUA is there after a power cut without a flush.

How: a write, a write-zeroes and a discard with FUA, and the same without. Then the power is cut.
FUA on a discard must not end the connection either.
Guards: fua-write-ack-early, fua-lost-on-trim, flush-not-advertised.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import CommandFlag
from qbdcheck.kit.server_ends import cut, rounds

MIB = 1 << 20


@case(
    groups="rw flush crash protocol quick",
    requires="raw_requests fua write_zeroes discard sudden_end",
    basis=(
        "MUST: NBD, Command flags",
        "MUST: NBD, Ordering of messages and writes",
        "POLICY: sector-writes-are-atomic",
    ),
)
def test(disk, nbd_io, seed):
    for round_ in rounds(4):
        with nbd_io(disk) as io:
            for flag in (CommandFlag.FUA, 0):
                start = round_ * MIB + (0 if flag else 512 << 10)
                io.write(start, 64 << 10, flag)
                io.write_zeroes(start + (128 << 10), 64 << 10, flag)
                io.discard(start + (256 << 10), 64 << 10, flag)
            cut(disk, seed + round_)
        disk.verify()
