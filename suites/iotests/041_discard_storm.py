"""This case checks that a long mix of discards, zeroes and writes leaves what its order says.

How: 150 operations from the seed, few blocks, many overlaps, verified at three points.
Guards: discard-overreach, phantom-write, misdirected-write, journal-slot-overlap.
"""

from qbdcheck.kit import case


@case(groups="rw discard zero", requires="discard write_zeroes", formats="any")
def test(disk, qemu_io, seed):
    chance = seed.stream("operations")
    for _ in range(3):
        with qemu_io(disk) as io:
            for _ in range(50):
                start = chance.randrange(64) * 65536 + chance.choice((0, 0, 512, 4096))
                length = chance.choice((512, 4096, 61440))
                kind = chance.choice(("write", "write_zeroes", "discard"))
                getattr(io, kind)(start, length)
        disk.verify()
