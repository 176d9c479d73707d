"""This case checks that a volume that shrinks and grows between requests reads like a file.

How: what fsx does to a file: 120 reads, writes, zeroes, discards and resizes, compared. New space
after a grow reads as zeroes.
Guards: grow-exposes-old-data, resize-false-success.
Related: sparse-tail-dropped.
"""

from oracles.workload import FSX
from qbdcheck.kit import case


@case(
    groups="size verify",
    requires="resize",
    basis=("MUST: NBD, NBD_CMD_READ", "POLICY: grown-part-reads-zero"),
)
def test(new_disk, dual_write, seed):
    disk = new_disk("1M")
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("fsx"), 120, weights=FSX, align=512, hot=0))
    pair.check()
    disk.verify()
