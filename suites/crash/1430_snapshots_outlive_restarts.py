"""This case checks that snapshots and their volume stay what they were over several restarts.

How: after each snapshot, units of 1 MiB and more are overwritten: as a whole or in part, with
data, with plain zeroes, or by write zeroes. A flush, a power cut, the next changes to other units,
the next power cut. After each, the volume and all its snapshots are read.
Guards: zero-block-reverts-after-restart, reload-loses-exceptions.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import TransmissionFlag
from qbdcheck.kit.server_ends import cut, rounds

MIB, ROUNDS, UNITS = 1 << 20, 5, 8
OTHERS = (5, 1), (6, 1), (7, 1), (6, 2), (4, 4)
"""Further changes: the unit at which each begins, and how many are overwritten as a whole."""


@case(
    groups="snapshot flush crash zero quick",
    requires="raw_requests flush sudden_end snapshot_read",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: snapshot-is-one-moment"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(UNITS * MIB)
    random = seed.stream("changes")
    snapshots = []
    for round_ in rounds(ROUNDS):
        if round_ in {0, 3}:
            snapshots.append(disk.snapshot(f"s{round_}"))
        with nbd_io(disk) as io:
            change_unit(io, random, round_, 1, ("zeroes", "part", "data")[round_ % 3])
            start, count = OTHERS[-1] if round_ == ROUNDS - 1 else random.choice(OTHERS[:-1])
            change_unit(io, random, start, count, random.choice(("zeroes", "data", "zero")))
            change_unit(io, random, random.choice(OTHERS)[0], 1, "part")
            io.flush()
        cut(disk, seed + round_)
        for one in (disk, *snapshots):
            with nbd_io(one) as io:
                for start in range(0, one.size, MIB):
                    io.read(start, MIB)


def change_unit(io, random, first, count, kind):
    """Overwrite units with data, with plain zeroes or by write zeroes, or a part of the first."""
    end = (first + count) * MIB
    longest = min(count * MIB, io.longest_sure)
    if kind == "part":
        at = first * MIB + random.randrange(MIB // 2)
        io.write(at, min(longest, random.choice((512, 4096, 70_000))))
        return
    for start in range(first * MIB, end, longest):
        length = min(longest, end - start)
        if kind == "zero" and io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            io.write_zeroes(start, length)
        else:
            io.write(start, length, data=None if kind == "data" else bytes(length))
