"""This case checks that a reference in memory and a reference in a file give the same verdict.

How: one workload with block status, 8 in flight, compared once with a file, once with a volume of
reference_backend in memory.
Guards: phantom-write, status-hole-over-dirty.
"""

from qbdcheck.kit import case


@case(groups="rw verify status", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, dual_write, seed):
    for reference in ("file", "memory"):
        pair = dual_write(new_disk("2M"), reference=reference)
        weights = {"read": 3, "write": 5, "zero": 2, "status": 1, "discard": 1}
        pair.run(pair.workload(seed.stream("workload"), 250, weights=weights, depth=8))
        pair.check()
