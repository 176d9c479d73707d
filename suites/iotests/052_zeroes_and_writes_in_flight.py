"""This case checks that zeroes, discards and writes in flight together each affect only their
range.

How: a raw client sends 64 requests at a time to neighbouring blocks; their kinds come from the
seed.
Guards: discard-overreach.
Related: journal-slot-overlap, shared-cursor-race, thin-alloc-toctou.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

BLOCK = 12 << 10
KINDS = (Command.WRITE, Command.WRITE, Command.TRIM, Command.WRITE_ZEROES)


@case(
    groups="concurrent zero discard quick protocol",
    requires="raw_requests write_zeroes discard",
    basis=(
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "MUST: NBD, NBD_CMD_TRIM",
        "MUST: NBD, NBD_CMD_READ",
        "POLICY: discard-old-or-zero",
    ),
)
def test(disk, nbd_io, seed):
    chance = seed.stream("kinds")
    with nbd_io(disk) as io:
        for _ in range(8):
            blocks = chance.sample(range(disk.size // BLOCK), 64)
            for block in blocks:
                io.send(chance.choice(KINDS), block * BLOCK, BLOCK)
            io.finish_all()
    disk.verify()
