"""This case checks that a target that cannot discard or zero causes no error, and zeroes are
zeroes.

How: ENOTSUP for write-zeroes: the block layer must write the zeroes; with no-fallback it must fail.
ENOTSUP for discard: success, with the data old or zero. EINVAL is an error for both.
Guards: transient-becomes-fatal.
Related: write-zeroes-noop, errno-collapsed.
"""

from errno import EINVAL, EOPNOTSUPP

from qbdcheck.kit import case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_errno

AT, LENGTH = 100_000, 200_000


@case(groups="inject errors zero discard", basis="MUST: NBD, NBD_CMD_WRITE_ZEROES")
def test(new_disk, qemu_io):
    disk = new_disk("512k")
    for kind in ("write-zeroes", "discard"):
        for number in (EOPNOTSUPP, EINVAL):
            rule = error(number=number, iotype=kind)
            name = json_filename(blkdebug(disk.protocol_blockdev(), rule))
            with qemu_io(name, shadow=disk.shadow) as io:
                io.write(AT, LENGTH)
                if kind == "discard" and number == EOPNOTSUPP:
                    io.discard(AT, LENGTH)
                elif kind == "discard":
                    expect_errno(io, f"discard {AT} {LENGTH}", number)
                elif number == EOPNOTSUPP:
                    expect_errno(io, f"write -zn {AT} {LENGTH}", number)
                    io.read(AT, 5000)
                    io.write_zeroes(AT, LENGTH, unmap=True)
                else:
                    expect_errno(io, f"write -z {AT} {LENGTH}", number)
                io.read(AT - 5000, 10_000)
            disk.verify()
