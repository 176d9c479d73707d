"""This case checks that a long mix of discards, zeroes and writes gives the result of its order.

How: 150 requests from the seed on few blocks with many overlaps. The disk is verified three times.
Discards are whole minimum blocks: QEMU's NBD client does not align them (docs/findings.md,
qemu-client-unaligned-discard).
Guards: discard-overreach, phantom-write, misdirected-write.
Related: journal-slot-overlap.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened


@case(
    groups="rw discard zero",
    requires="discard write_zeroes",
    formats="any",
    basis=(
        "MUST: NBD, NBD_CMD_TRIM",
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "MUST: NBD, NBD_CMD_READ",
        "POLICY: discard-old-or-zero",
    ),
)
def test(disk, qemu_io, seed):
    chance = seed.stream("operations")
    minimum = minimum_block(disk)
    for _ in range(3):
        with qemu_io(disk) as io:
            for _ in range(50):
                start = chance.randrange(64) * 65536 + chance.choice((0, 0, 512, 4096))
                length = chance.choice((512, 4096, 61440))
                kind = chance.choice(("write", "write_zeroes", "discard"))
                if kind == "discard":
                    start, length = widened(start, length, minimum)
                getattr(io, kind)(start, length)
        disk.verify()
