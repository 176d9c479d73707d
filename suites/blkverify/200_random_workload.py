"""This case checks that a random workload gives the same results as a raw reference.

How: 400 reads, writes, zeroes, discards and flushes of any length and alignment, one at a time.
Each result is compared with that of a plain file, and every byte at the end.
Guards: phantom-write, misdirected-write, write-zeroes-noop, unaligned-offset-rounded.
"""

from qbdcheck.kit import case


@case(groups="rw verify quick", formats="any", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, dual_write, seed):
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("workload"), 400))
    pair.check()
