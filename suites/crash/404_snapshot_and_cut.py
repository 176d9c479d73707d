"""This case checks that a snapshot of the target does not weaken its volume against a power cut.

How: writes, a snapshot, more writes, a flush of some, a cut, through three snapshots. What was
flushed is there, the rest old or new. What was acknowledged before a snapshot is in it, and hence
durable.
Guards: flush-noop.
Related: snapshot-not-point-in-time, discard-not-tracked.
"""

from qbdcheck.kit import case

KIB = 1 << 10


@case(
    groups="snapshot flush crash",
    requires="flush discard crash snapshot",
    basis=("MUST: NBD, NBD_CMD_FLUSH", "POLICY: snapshot-is-one-moment"),
)
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
        io.read(512 * KIB, 128 * KIB)  # new or zero, not the data of the snapshot
        io.flush()
        io.write(round_ * 200 * KIB, 90 * KIB)
        disk.backend.crash(seed=seed + round_)
        io.abandon()
        disk.verify()
