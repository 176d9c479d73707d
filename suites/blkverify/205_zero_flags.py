"""This case checks that WRITE_ZEROES with every flag writes zeroes, and changes nothing else.

How: 300 requests, half of them WRITE_ZEROES with and without NO_HOLE and FUA, 8 in flight, with
block status between them. No range that holds data may be reported as zero.
Guards: write-zeroes-noop, status-hole-over-dirty.
Related: zero-flags-lost, fua-lost-on-trim.
"""

from qbdcheck.kit import case


@case(
    groups="zero status verify quick",
    requires="write_zeroes",
    basis="MUST: NBD, NBD_CMD_WRITE_ZEROES",
)
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("4M"))
    weights = {"zero": 5, "write": 3, "read": 2, "status": 2}
    pair.run(pair.workload(seed.stream("workload"), 300, weights=weights, depth=8))
    pair.check()
