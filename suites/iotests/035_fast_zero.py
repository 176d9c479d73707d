"""This case checks that FAST_ZERO either zeroes at once or fails with ENOTSUP and changes nothing.

How: FAST_ZERO on the wire over data, a hole, and unaligned ranges, with NO_HOLE and without.
Guards: zero-flags-lost, write-zeroes-noop.
"""

import errno

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag

RANGES = ((0, 1 << 20), (2 << 20, 64 << 10), ((3 << 20) + 17, 5000), ((4 << 20) - 1, 2))


@case(groups="zero quick protocol", requires="nbd write_zeroes fast_zero")
def test(disk, nbd_io, log):
    with nbd_io(disk) as io:
        for start, length in RANGES:
            for extra in (CommandFlag.NO_HOLE, CommandFlag(0)):
                flags = CommandFlag.FAST_ZERO | extra
                error = io.attempt(Command.WRITE_ZEROES, start, length, flags)
                log(f"{length} bytes at {start}, {extra!r}: {error}")
                assert error in (0, errno.ENOTSUP), f"FAST_ZERO at {start}: errno {error}"
    disk.verify()
