"""This case checks that requests of single bytes change and return exactly those bytes.

How: 500 requests of 1 to 700 bytes at any offset. QEMU's blkverify rounds such requests to sectors;
here they reach the target unchanged. Not run on a target with a larger minimum block.
Guards: unaligned-offset-rounded.
Related: sector-unit-mismatch.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd_io import minimum_block


@case(groups="rw verify", requires="nbd", basis="MUST: NBD, NBD_CMD_READ")
def test(new_disk, dual_write, seed):
    disk = new_disk("64K")
    minimum = minimum_block(disk)
    if minimum > 1:
        raise NotRun(f"the target has a minimum block of {minimum} bytes")
    pair = dual_write(disk)
    pair.run(pair.workload(seed.stream("workload"), 500, longest=700, depth=4))
    pair.check()
    disk.verify()
