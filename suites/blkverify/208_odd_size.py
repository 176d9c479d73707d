"""This case checks that a volume of an odd size is right up to its last byte.

How: 1,000,003 bytes; 300 requests of any alignment, then each of the last bytes alone. Not run on a
target with a minimum block above 1 byte.
Guards: size-rounded-down, size-rounded-up, last-block-overrun.
Related: sparse-tail-dropped.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd_io import minimum_block

SIZE = 1_000_003


@case(groups="size rw verify", requires="raw_size nbd", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, dual_write, seed):
    disk = new_disk(SIZE, prefill=False)
    minimum = minimum_block(disk)
    if minimum > 1:
        raise NotRun(f"the target has a minimum block of {minimum} bytes")
    disk.prefill()
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("workload"), 300, depth=4))
    for back in (1, 2, 3, 511, 512, 513):
        pair.ask("write", SIZE - back, back)
        pair.ask("zero", SIZE - back, 1)
        pair.ask("read", SIZE - back, back)
    pair.check()
