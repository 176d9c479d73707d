"""This case checks that results do not depend on the number of requests in flight.

How: similar workloads with 1, 2, 4, ... 64 requests in flight, one after the other on one volume.
Related: shared-cursor-race, connection-slot-leak, merge-after-issue.
"""

from qbdcheck.kit import case


@case(groups="rw verify concurrent", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("4M"), status=False)
    for depth in (1, 2, 4, 8, 16, 32, 64):
        random = seed.stream(f"depth {depth}")
        pair.run(pair.workload(random, 100, depth=depth, longest=16384))
    pair.check()
