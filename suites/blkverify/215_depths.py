"""This case checks that it does not matter how many requests are in flight together.

How: the same kind of workload with 1, 2, 4, ... 64 in flight, one after the other on one volume.
Guards: shared-cursor-race, connection-slot-leak, merge-after-issue.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent")
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("4M"), status=False)
    for depth in (1, 2, 4, 8, 16, 32, 64):
        chance = seed.stream(f"depth {depth}")
        pair.run(pair.workload(chance, 100, depth=depth, longest=16384))
    pair.check()
