"""This case checks that 64 requests in flight together get what a raw reference gives.

How: 800 requests of all kinds from the seed, 64 at a time, none of which touches another's bytes.
Guards: shared-cursor-race, merge-after-issue, misdirected-write.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent quick", formats="any")
def test(disk, dual_write, seed):
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("workload"), 800, depth=64, longest=32768))
    pair.check()
