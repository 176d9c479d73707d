"""This case checks that a cut during the recovery from a cut, and one more, change nothing.

How: what the first cut left is read once; then power fails again and again, with nothing written
and nothing flushed between. A volume may not change its mind about what is on it.
Guards: journal-slot-overlap, destage-reorder, reopen-different-placement, map-entry-shifted.
"""

from qbdcheck.kit import case

KIB = 1 << 10


@case(groups="rw flush crash quick", requires="flush crash")
def test(new_disk, qemu_io, seed):
    disk = new_disk("2M")
    for round_ in range(3):
        io = qemu_io(disk)
        for number in range(16):
            io.write(number * 100 * KIB + round_ * 20 * KIB, 40 * KIB)
            if number == 7:
                io.flush()
        disk.backend.crash(seed=seed + 10 * round_)
        io.abandon()
        disk.verify()  # settles: from here on there is one right content
        assert disk.shadow.ambiguous() == []
        for again in range(1, 5):
            disk.backend.crash(seed=seed + 10 * round_ + again)
            disk.verify()
