"""This case checks that the first change of a clone's block keeps the rest of its parent's data.

How: in one clone of a full volume, distant blocks are changed for the first time by a write of a
sector, by zeroes, by a discard, and by a shrink and a grow. All data around must still be the
parent's, and snapshot and parent must be unchanged, also when the parent is written.
Guards: clone-copyup-lost, discard-overreach.
Related: discard-exposes-backing.
"""

from qbdcheck.kit import case

KIB, MIB = 1 << 10, 1 << 20


@case(
    groups="snapshot discard zero quick",
    requires="clone discard write_zeroes resize",
    basis="POLICY: clone-is-independent",
)
def test(new_disk, qemu_io):
    disk = new_disk("5M")
    snapshot = disk.snapshot("base")
    clone = snapshot.clone("copy")
    with qemu_io(clone) as io:
        io.write(300 * KIB, 512)
        io.write_zeroes(MIB + 300 * KIB, 4 * KIB)
        io.write_zeroes(2 * MIB + 301 * KIB + 512, 70 * KIB, unmap=True)
        io.discard(3 * MIB + 300 * KIB, 64 * KIB)
        io.flush()
    clone.resize(4 * MIB + 300 * KIB)
    clone.resize(6 * MIB)
    with qemu_io(disk) as io:
        io.write(20 * KIB, 512 * KIB)
        io.discard(2 * MIB, 64 * KIB)
        io.flush()
    for one in (clone, snapshot, disk):
        one.verify()
