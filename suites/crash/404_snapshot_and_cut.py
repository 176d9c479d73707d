"""This case checks that a snapshot of the target, once taken, does not let a cut hurt its volume.

How: writes, a snapshot, further writes, a flush of some, a cut; what was flushed is there, the rest
old or new, through three snapshots. What was acknowledged before a snapshot is in it, hence
durable.
Guards: snapshot-not-point-in-time, discard-not-tracked, flush-noop.
"""

from qbdcheck.kit import case

KIB = 1 << 10


@case(groups="snapshot flush crash", requires="flush discard crash snapshot")
def test(new_disk, qemu_io, seed):
    disk = new_disk("1M")
    for round_ in range(3):
        io = qemu_io(disk)
        for number in range(8):
            io.write(number * 128 * KIB + round_ * 4096, 20 * KIB)
        io.flush()
        disk.backend.snapshot(f"snapshot{round_}")
        io.write(round_ * 100 * KIB, 50 * KIB)
        io.write(512 * KIB, 128 * KIB)
        io.discard(512 * KIB, 64 * KIB)
        io.read(512 * KIB, 128 * KIB)  # new or zero, and not what the snapshot has
        io.flush()
        io.write(round_ * 200 * KIB, 90 * KIB)
        disk.backend.crash(seed=seed + round_)
        io.abandon()
        disk.verify()
