"""This case checks that the first writes to an empty volume leave zeroes around them.

How: an empty disk; 400 requests, 32 in flight, mostly writes that start and end within blocks.
Related: thin-alloc-toctou, grow-exposes-old-data, clone-copyup-lost.
"""

from qbdcheck.kit import case


@case(
    groups="rw verify concurrent",
    formats="raw qcow2 vdi vpc luks parallels",
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: fresh-volume-reads-zero"),
)
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk("4M", prefill=False))
    weights = {"write": 8, "read": 2, "zero": 1}
    pair.run(pair.workload(seed.stream("workload"), 400, weights=weights, depth=32, hot=0))
    pair.check()
