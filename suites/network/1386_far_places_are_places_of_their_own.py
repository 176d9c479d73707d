"""This case checks that a place far behind the start is not taken for the one a power of two lower.

How: a volume as large as the target makes it, up to 2^62 bytes. For each power of two from 2 GiB to
its end there are two places that far apart: one has data, the other one is a hole, in turns. Then,
after a snapshot, one of the two is written, zeroed or discarded, also up to a multiple of the
power. Contents, block status, change tracking and the snapshot are compared; at last there is a
flush, and a power cut if the target can.
Guards: offset-32bit-wrap, status-sector-wraps, dirty-offset-wraps, cache-tag-cut,
end-at-4gib-does-nothing.
"""

from qbdcheck.kit import case
from qbdcheck.kit.block_status import StatusWrong, follow, zero_reads_as_zero
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.server_ends import cut
from qbdcheck.kit.volume_limits import first_possible

KIB, GIB, LENGTH = 1 << 10, 1 << 30, 64 << 10
SIZES = (1 << 62, *(9 << bits for bits in (50, 43, 40, 36, 30)), 5 * GIB)
TRACKING = "qbd:dirty"


@case(
    groups="size rw zero discard status snapshot quick",
    requires="raw_requests",
    basis=(
        "MUST: NBD, NBD_CMD_WRITE",
        "MUST: NBD, NBD_CMD_BLOCK_STATUS",
        "POLICY: dirty-bitmap-covers-all-changes",
        "POLICY: snapshot-is-one-moment",
    ),
)
def test(nbd_io, target, seed, log):
    disk = first_possible(target, SIZES, log)
    powers = [1 << bits for bits in range(31, 62) if 2 << bits <= disk.size]
    pairs = [((number + 1) * 4 * LENGTH, power) for number, power in enumerate(powers)]
    pairs = [(low, power + low) for low, power in pairs]
    pairs += [(power - LENGTH, 2 * power - LENGTH) for power in powers[1::2]]
    random = seed.stream("choices")
    with nbd_io(disk, contexts=("base:allocation", TRACKING)) as io:
        for number, pair in enumerate(pairs):
            io.write(pair[number % 2], LENGTH)
        check(io, pairs)
        snapshot = disk.snapshot("before") if "snapshot_read" in target.capabilities else None
        changed = [change(io, random, number, pair) for number, pair in enumerate(pairs)]
        check(io, pairs)
        if snapshot is not None:
            must_be_dirty(io, changed)
            with nbd_io(snapshot) as old:
                check(old, pairs)
        io.flush()
        if "sudden_end" in target.capabilities:
            cut(disk, seed)
    with nbd_io(disk) as io:
        check(io, pairs)


def change(io, random, number, pair):
    """Change one place of a pair; return it, or None if that may change nothing."""
    at = random.choice(pair)
    kind = number // 2 % 4
    if io.offers(TransmissionFlag.SEND_CACHE):
        io.attempt(Command.CACHE, random.choice(pair), LENGTH)
    if kind == 2 and io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        io.write_zeroes(at, LENGTH)
        return None
    if kind == 3 and io.offers(TransmissionFlag.SEND_TRIM):
        io.discard(at, LENGTH)
        return None
    io.write(at, LENGTH)
    return at


def check(io, pairs):
    """Compare contents, and what block status calls zero, at both places of all pairs."""
    for at in (one for pair in pairs for one in pair):
        zero_reads_as_zero(io, at, at + LENGTH, io.read(at, LENGTH))


def must_be_dirty(io, places):
    """Check that what was written since the snapshot is dirty, if the target tracks that."""
    if TRACKING not in io.client.contexts.values():
        return
    for at in (one for one in places if one is not None):
        for start, end, flags in follow(io.client, at, at + LENGTH)[TRACKING]:
            if not flags:
                raise StatusWrong(f"{TRACKING}: [{start}, {end}) was written, but is clean")
