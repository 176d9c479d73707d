"""This case checks that the whole disk can be discarded at once and used afterwards.

How: a discard from 0 to the end, stamps at both ends and in the middle, a comparison, and the same
again.
Guards: limits-zero-or-excessive.
Related: discard-overreach, journal-slot-overlap.
"""

from qbdcheck.kit import case


@case(groups="rw discard", requires="discard", formats="any", basis="POLICY: discard-old-or-zero")
def test(disk, qemu_io):
    for _ in range(2):
        with qemu_io(disk) as io:
            io.discard(0, disk.size)
            for start in (0, disk.size // 2 - 2048, disk.size - 4096):
                io.write(start, 4096)
            io.read(disk.size // 2 - 8192, 16384)
        disk.verify()  # closed: QEMU locks the file of an image while it is open for writing
