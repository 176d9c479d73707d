"""This case checks that 64 requests in flight give the same results as a raw reference.

How: 800 requests of all kinds from the seed, 64 at a time, none of which overlap.
Guards: merge-after-issue, misdirected-write.
Related: shared-cursor-race.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, dual_write, seed):
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("workload"), 800, depth=64, longest=32768))
    pair.check()
