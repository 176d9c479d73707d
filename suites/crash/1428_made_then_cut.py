"""This case checks that a snapshot, a clone and a volume that were just made survive a power cut.

How: changes and a flush; then a snapshot, a clone of it or a volume beside it is made, and the
power is cut at once, with nothing pending. What was made must be there, with its contents, and so
must all that was made before. In some rounds a snapshot is removed as well.
Guards: snapshot-lost-in-cut.
"""

from qbdcheck.kit import case
from qbdcheck.kit.related_requests import RelatedRequests
from qbdcheck.kit.server_ends import cut, rounds

KIB, ROUNDS = 1 << 10, 8
SIZE, WINDOW, WINDOWS = 1280 * KIB, 192 * KIB, (0, 960 * KIB, 1088 * KIB)


@case(
    groups="snapshot flush crash quick",
    requires="raw_requests flush sudden_end snapshot_read snapshot_remove clone add_volume",
    basis=("POLICY: snapshot-is-one-moment", "POLICY: clone-is-independent"),
)
def test(new_disk, nbd_io, seed):
    disk = new_disk(SIZE)
    random = seed.stream("changes")
    snapshots, others = [], []
    for round_ in rounds(ROUNDS):
        with nbd_io(disk) as io:
            related = RelatedRequests(random, WINDOW, io)
            for _ in range(12):
                related.change(io, random.choice(WINDOWS))
            io.flush()
        kind = round_ % 4
        if kind in {0, 1}:
            snapshots.append(disk.snapshot(f"s{round_}"))
        elif kind == 2:
            others.append(snapshots[-1].clone(f"clone{round_}"))
        else:
            others.append(new_disk(SIZE, beside=disk, prefill=False))
            snapshots.pop(random.randrange(len(snapshots))).remove()
        cut(disk, seed + round_)
        for one in (disk, *snapshots, *others):
            with nbd_io(one) as io:
                io.read(0, SIZE)
    for one in (disk, *snapshots, *others):
        one.verify()
