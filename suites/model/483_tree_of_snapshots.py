"""This case checks that snapshots and clones of each other stay independent.

How: volumes are randomly written, zeroed, discarded and resized; snapshots are taken and removed;
clones are made of any snapshot; now and then one of them is read. At the end all are read.
Guards: snapshot-delete-shared-block, clone-copyup-lost, rebuild-granularity-mismatch.
Related: snapshot-not-point-in-time, wrong-volume-or-lun, resize-during-copy.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd_io import minimum_block

KIB = 1 << 10
LARGEST = 3 << 20
ROUNDS = 120


def change(disk, io, random):
    """Send one random request, anywhere on the disk."""
    unit = max(512, io.block_sizes[0])
    offset = random.randrange(disk.size // unit) * unit
    length = min(max(unit, random.choice((512, 4096, 24 * KIB, 300 * KIB))), disk.size - offset)
    kind = random.choice(("write", "write", "zero", "discard"))
    if kind == "write":
        io.write(offset, length)
    elif kind == "zero":
        io.write_zeroes(offset, length)
    else:
        io.discard(offset, length)


def read(disk, nbd_io):
    with nbd_io(disk) as io:
        expect_bytes(io.client.size, disk.size, disk.name)
        if disk.size:
            io.read(0, disk.size)


@case(
    groups="model snapshot",
    requires="raw_requests clone snapshot_remove resize discard write_zeroes",
    basis=("POLICY: snapshot-is-one-moment", "POLICY: clone-is-independent"),
)
def test(new_disk, nbd_io, seed, log):
    random = seed.stream("tree")
    volumes, snapshots = [new_disk("2M")], []
    unit = max(512, minimum_block(volumes[0]))
    for round_ in range(ROUNDS):
        disk = random.choice(volumes)
        what = random.choice(("change",) * 5 + ("snapshot", "snapshot", "clone", "remove", "resize",
                             "read"))  # fmt: skip
        log(round_, what, disk.name)
        if what == "change" and disk.size:
            with nbd_io(disk) as io:
                for _ in range(4):
                    change(disk, io, random)
                io.flush()
        elif what == "snapshot" and len(snapshots) < 8:
            snapshots.append(disk.snapshot(f"s{round_}"))
        elif what == "clone" and snapshots and len(volumes) < 6:
            volumes.append(random.choice(snapshots).clone(f"c{round_}"))
        elif what == "remove" and snapshots:
            snapshots.pop(random.randrange(len(snapshots))).remove()
        elif what == "resize":
            disk.resize(random.randrange(LARGEST // unit) * unit)
        elif what == "read":
            read(random.choice([*volumes, *snapshots]), nbd_io)
    with contextlib.ExitStack() as all_read:
        for one in (*volumes, *snapshots):
            all_read.callback(read, one, nbd_io)
