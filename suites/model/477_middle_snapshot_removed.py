"""This case checks that removing a snapshot damages neither other snapshots nor the volume.

How: three snapshots with large and small writes between them, so that whatever a backend shares
between snapshots, from a sector to a mebibyte, is shared by some and not by others. The middle one
is removed, everything is written again, so that freed space is reused, and the others and the
volume are read.
Guards: snapshot-delete-shared-block.
Related: clone-copyup-lost.
"""

from qbdcheck.kit import case

KIB = 1 << 10
STAGES = (
    ((0, 300), *((at + 9, 4) for at in range(2048, 3072, 64))),
    ((20, 1000), *((at + 30, 4) for at in range(2048, 3072, 64))),
    ((3072, 1024), *((at + 50, 1) for at in range(2048, 2560, 64))),
)
"""Writes before each snapshot: offsets and lengths in KiB."""


@case(
    groups="snapshot quick",
    requires="snapshot_read snapshot_remove",
    basis="POLICY: snapshot-is-one-moment",
)
def test(new_disk, qemu_io):
    disk = new_disk("4M")
    taken = []
    with qemu_io(disk) as io:
        for number, stage in enumerate(STAGES):
            for offset, length in stage:
                io.write(offset * KIB, length * KIB)
            io.flush()
            taken.append(disk.snapshot(f"s{number}"))
        taken.pop(1).remove()
        for offset in range(0, 4096, 512):
            io.write(offset * KIB, 400 * KIB)
        io.flush()
    for one in (*taken, disk):
        one.verify()
