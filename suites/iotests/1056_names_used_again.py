"""This case checks that a snapshot that takes the name of a removed one has contents of its own.

How: a snapshot is taken, opened, read and removed; the volume is changed; a snapshot of the same
name is taken. It shows the volume of its own moment, also after further changes, with other
snapshots before and after it, and in a clone if the target has clones.
Guards: snapshot-by-name-kept.
"""

from qbdcheck.kit import case

KIB, TURNS = 1 << 10, 3


@case(
    groups="snapshot names quick",
    requires="raw_requests snapshot_read snapshot_remove",
    basis="POLICY: snapshot-is-one-moment",
)
def test(new_disk, nbd_io, seed):
    disk = new_disk("1M")
    random = seed.stream("places")
    for turn in range(TURNS):
        other = disk.snapshot(f"other{turn}")
        again = disk.snapshot("again")
        change(disk, nbd_io, random)
        for one in (again, other, disk):
            read(one, nbd_io)
        again.remove()
        if turn % 2:
            other.remove()
    last = disk.snapshot("again")
    change(disk, nbd_io, random)
    read(last, nbd_io)
    read(disk, nbd_io)


def change(disk, nbd_io, random):
    with nbd_io(disk) as io:
        for _ in range(12):
            io.write(random.randrange(252) * 4 * KIB, random.choice((4, 8, 12)) * KIB)
        io.flush()


def read(disk, nbd_io):
    with nbd_io(disk) as io:
        io.read(0, disk.size)
