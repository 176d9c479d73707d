"""This case checks that a volume with blocks of 4 KiB is right under requests of whole blocks.

How: the target gets a minimum block of 4 KiB; 300 aligned requests, 16 in flight.
Related: min-block-underadvertised, torn-write.
"""

from qbdcheck.kit import case


@case(
    groups="blocksize rw verify",
    requires="min_block",
    basis=("MUST: NBD, NBD_CMD_READ", "MUST: NBD, Block size constraints"),
)
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("4M", min_block=4096))
    pair.run(pair.workload(seed.stream("workload"), 300, align=4096, depth=16))
    pair.check()
