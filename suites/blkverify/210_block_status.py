"""This case checks that block status never reports zeroes where a raw reference has data.

How: 400 writes, zeroes and discards, with a block status of some range after every few of them.
Guards: status-hole-over-dirty, extents-unsorted, alloc-map-rounding-reads-zero, malformed-extents.
"""

from qbdcheck.kit import case


@case(
    groups="status verify",
    requires="block_status",
    formats="raw qcow2 vdi vpc luks parallels",
    basis="MUST: NBD, Metadata contexts",
)
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("4M", prefill=False))
    weights = {"status": 3, "write": 3, "zero": 2, "discard": 1, "read": 1}
    pair.run(pair.workload(seed.stream("workload"), 400, weights=weights, depth=4))
    for start in range(0, 4 << 20, 1 << 20):
        pair.ask("status", start, 1 << 20)
    pair.check()
