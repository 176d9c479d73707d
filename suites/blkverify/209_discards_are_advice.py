"""This case checks that discarded data is old or zero, and data written after it is exact.

How: 500 requests, half of them discards, on few places. A discard may do nothing or write zeroes;
it must not touch its neighbours.
Guards: discard-overreach, phantom-write.
Related: discard-exposes-backing.
"""

from qbdcheck.kit import case


@case(
    groups="discard verify",
    requires="discard",
    formats="any",
    basis=("MUST: NBD, NBD_CMD_TRIM", "POLICY: discard-old-or-zero"),
)
def test(new_disk, dual_write, seed):
    disk = new_disk("2M")
    pair = dual_write(disk)
    weights = {"discard": 5, "write": 3, "read": 2}
    pair.run(pair.workload(seed.stream("workload"), 500, weights=weights, hot=16, depth=2))
    pair.check()
    dual_write.close()
    disk.verify()
