"""This case checks that removing a snapshot in any position damages nothing, also after a restart.

How: the first, the middle, the newest of three snapshots and an only one are removed. Part of the
data was not rewritten since the removed snapshot, part since it. The other snapshots and the volume
are read after the removal, after more writes, and after a stop, a kill and a power cut.
Guards: snapshot-removal-loses-unchanged.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.server_ends import end, ways_of

KIB = 1 << 10
STAGES = (
    ((0, 600), (1024, 300), *((at, 4) for at in range(2048, 2300, 8))),
    ((300, 200), (1500, 300), *((at, 4) for at in range(2048, 2300, 16))),
    ((450, 300), (1100, 20), *((at, 4) for at in range(2052, 2300, 32))),
)
"""Writes before each snapshot: offsets and lengths in KiB."""


@case(
    groups="snapshot flush crash",
    requires="raw_requests snapshot_read snapshot_remove",
    basis="POLICY: snapshot-is-one-moment",
)
def test(new_disk, nbd_io, seed):
    for way in ways_of(new_disk(4096)):
        disk = new_disk("2304K")
        for count, position in ((3, 0), (3, 1), (3, 2), (1, 0)):
            taken = []
            for number in range(count):
                fill(disk, nbd_io, STAGES[number])
                taken.append(disk.snapshot(f"s{count}{position}{number}"))
            fill(disk, nbd_io, STAGES[count % 3][1:6])
            taken.pop(position).remove()
            read_all(nbd_io, disk, taken)
            end(disk, way, seed + position)
            read_all(nbd_io, disk, taken)
            fill(disk, nbd_io, ((600, 64), (2100, 12)))
            read_all(nbd_io, disk, taken)
            while taken:
                taken.pop().remove()
        disk.verify()


def fill(disk, nbd_io, places):
    with nbd_io(disk) as io:
        for at, length in places:
            io.write(*widened(at * KIB, length * KIB, io.block_sizes[0]))
        io.flush()


def read_all(nbd_io, disk, snapshots):
    for one in (*snapshots, disk):
        with nbd_io(one) as io:
            io.read(0, one.size)
