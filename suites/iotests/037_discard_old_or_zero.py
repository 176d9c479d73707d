"""This case checks that a discarded range reads as its old data or as zeroes, and stays that way.

How: discard aligned ranges of a prefilled disk, read them, write next to them, read again.
Guards: discard-overreach, discard-exposes-backing, zero-via-nondeterministic-discard.
"""

from qbdcheck.kit import case


@case(groups="rw quick discard", requires="discard", formats="any")
def test(disk, qemu_io):
    with qemu_io(disk) as io:
        for number, length in enumerate((4096, 65536, 1 << 20)):
            start = (2 * number + 1) << 20
            io.discard(start, length)
            first = io.read(start, min(length, 65536))
            io.write(start - 4096, 4096)
            io.write(start + length, 4096)
            assert io.read(start, min(length, 65536)) == first
    disk.verify()
