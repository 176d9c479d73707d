"""This case checks that a volume of an odd size is right up to its last byte.

How: 1,000,003 bytes; 300 requests of any alignment, then each of the last bytes alone.
Guards: size-rounded-down, size-rounded-up, last-block-overrun, sparse-tail-dropped.
"""

from qbdcheck.kit import case

SIZE = 1_000_003


@case(groups="size rw verify", requires="raw_size nbd")
def test(new_disk, dual_write, seed):
    pair = dual_write(new_disk(SIZE))
    pair.run(pair.workload(seed.stream("workload"), 300, depth=4))
    for back in (1, 2, 3, 511, 512, 513):
        pair.ask("write", SIZE - back, back)
        pair.ask("zero", SIZE - back, 1)
        pair.ask("read", SIZE - back, back)
    pair.check()
