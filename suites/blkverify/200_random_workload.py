"""This case checks that a random workload gets from the target what a raw reference gives.

How: 400 reads, writes, zeroes, discards and flushes of any size and alignment, one at a time, each
answer compared with that of a plain file; every byte at the end.
Guards: phantom-write, misdirected-write, write-zeroes-noop, unaligned-offset-rounded.
"""

from qbdcheck.kit import case


@case(groups="rw verify quick", formats="any")
def test(disk, dual_write, seed):
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("workload"), 400))
    pair.check()
