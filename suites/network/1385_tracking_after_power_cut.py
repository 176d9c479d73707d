"""This case checks that change tracking still knows each durable change after a power cut.

How: snapshots with writes and zeroes after each; a flush or FUA makes them durable; then
the power is cut, and the map of changes is read by a new connection, at once and after further
changes. What was changed since the newest snapshot, and is durable, must be dirty.
Guards: tracking-lost-in-cut, dirty-misses-fua.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.block_status import follow, part
from qbdcheck.kit.nbd import CommandFlag, TransmissionFlag
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.server_ends import cut, rounds

KIB, SIZE, ROUNDS = 1 << 10, 4 << 20, 4
CONTEXT = "qbd:dirty"


@case(
    groups="bitmap snapshot crash zero quick",
    requires="nbd snapshot structured flush sudden_end",
    basis="POLICY: dirty-bitmap-covers-all-changes",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE)
    random = seed.stream("places")
    for round_ in rounds(ROUNDS):
        disk.backend.snapshot(f"s{round_}")
        changed = []
        for number in range(3):
            with nbd_io(disk, contexts=(CONTEXT,)) as io:
                if not io.client.contexts:
                    raise NotRun(f"the target has no context {CONTEXT}")
                count = random.choice((1, 6))
                changed += [change(io, random, has_fua=number == 1) for _ in range(count)]
                if number != 1 or not io.offers(TransmissionFlag.SEND_FUA):
                    io.flush()
                must_be_dirty(io, changed, "before the power cut")
                cut(disk, seed + round_)
            with nbd_io(disk, contexts=(CONTEXT,)) as io:
                must_be_dirty(io, changed, "after the power cut")
    disk.verify()


def change(io, random, has_fua):
    """Make one change, durable if it has FUA; return its place."""
    length = random.choice((512, 4 * KIB, 20 * KIB, 100 * KIB))
    place = widened(random.randrange(0, SIZE - 128 * KIB, 512), length, io.block_sizes[0])
    flags = CommandFlag.FUA if has_fua and io.offers(TransmissionFlag.SEND_FUA) else 0
    kinds = [io.write, io.write]
    if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
        kinds.append(io.write_zeroes)
    random.choice(kinds)(*place, flags)
    return place


def must_be_dirty(io, changed, when):
    whole = follow(io.client, 0, SIZE)[CONTEXT]
    for start, length in changed:
        for first, end, flags in part(whole, start, start + length):
            assert flags & 1, f"{CONTEXT} {when}: [{first}, {end}) changed, but is clean"
