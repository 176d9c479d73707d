"""This case checks that snapshots and clones of each other keep apart, whatever is done to them.

How: by chance volumes are written, zeroed, discarded, resized, snapshots taken and removed, clones
made of any snapshot, and now and then one of all that is there is read; in the end all are.
Guards: snapshot-delete-shared-block, clone-copyup-lost, snapshot-not-point-in-time,
wrong-volume-or-lun, resize-during-copy, rebuild-granularity-mismatch.
"""

import contextlib

from qbdcheck.kit import case

KIB = 1 << 10
LARGEST = 3 << 20
ROUNDS = 120


def change(disk, client, random):
    """One request of chance, anywhere on the disk."""
    offset = random.randrange(disk.size // 512) * 512
    length = min(random.choice((512, 4096, 24 * KIB, 300 * KIB)), disk.size - offset)
    kind = random.choice(("write", "write", "zero", "discard"))
    if kind == "write":
        data = disk.shadow.stamped(offset, length)
        client.write(offset, data)
        disk.shadow.write(offset, data)
    elif kind == "zero":
        client.write_zeroes(offset, length)
        disk.shadow.zero(offset, length)
    else:
        client.trim(offset, length)
        disk.shadow.discard(offset, length)


def read(disk, nbd):
    with nbd(disk) as client:
        assert client.size == disk.size
        if disk.size:
            disk.judge(0, client.read(0, disk.size))


@case(
    groups="model snapshot",
    requires="nbd clone snapshot_remove resize discard write_zeroes",
)
def test(new_disk, nbd, seed, log):
    random = seed.stream("tree")
    volumes, snapshots = [new_disk("2M")], []
    for round_ in range(ROUNDS):
        disk = random.choice(volumes)
        what = random.choice(("change",) * 5 + ("snapshot", "snapshot", "clone", "remove", "resize",
                             "read"))  # fmt: skip
        log(round_, what, disk.name)
        if what == "change" and disk.size:
            with nbd(disk) as client:
                for _ in range(4):
                    change(disk, client, random)
                client.flush()
        elif what == "snapshot" and len(snapshots) < 8:
            snapshots.append(disk.snapshot(f"s{round_}"))
        elif what == "clone" and snapshots and len(volumes) < 6:
            volumes.append(random.choice(snapshots).clone(f"c{round_}"))
        elif what == "remove" and snapshots:
            snapshots.pop(random.randrange(len(snapshots))).remove()
        elif what == "resize":
            disk.resize(random.randrange(LARGEST // 512) * 512)
        elif what == "read":
            read(random.choice([*volumes, *snapshots]), nbd)
    with contextlib.ExitStack() as all_read:
        for one in (*volumes, *snapshots):
            all_read.callback(read, one, nbd)
