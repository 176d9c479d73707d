"""This case checks that requests of several megabytes are right in every sector.

How: 24 writes, reads and zeroes of up to 4 MiB at any alignment, three in flight.
Guards: limits-zero-or-excessive, short-read-resume-offset.
Related: structured-read-gap.
"""

from qbdcheck.kit import case


@case(groups="rw verify", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, dual_write, seed):
    pair = dual_write(disk, status=False)
    pair.run(pair.workload(seed.stream("workload"), 24, longest=4 << 20, depth=3))
    pair.check()
