"""This case checks that requests of single bytes change and return exactly those bytes.

How: 500 requests of 1 to 700 bytes at any offset, which QEMU's blkverify rounds to sectors before
it sees them; here they reach the target as they are.
Guards: unaligned-offset-rounded, sector-unit-mismatch.
"""

from qbdcheck.kit import case


@case(groups="rw verify", requires="nbd")
def test(new_disk, dual_write, seed):
    disk = new_disk("64K")
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("workload"), 500, longest=700, depth=4))
    pair.check()
    disk.verify()
