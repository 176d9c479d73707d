"""This case checks that FAST_ZERO either zeroes at once or fails with ENOTSUP and changes nothing.

How: WRITE_ZEROES with FAST_ZERO over data, a hole, and unaligned ranges, with NO_HOLE and without.
Guards: write-zeroes-noop.
Related: zero-flags-lost.
"""

import errno

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_requests import request_name, widened

RANGES = ((0, 1 << 20), (2 << 20, 64 << 10), ((3 << 20) + 17, 5000), ((4 << 20) - 1, 2))


@case(
    groups="zero quick protocol",
    requires="nbd write_zeroes fast_zero",
    basis=("MUST: NBD, NBD_CMD_WRITE_ZEROES", "POLICY: refused-request-changes-nothing"),
)
def test(disk, nbd_io, log):
    with nbd_io(disk) as io:
        minimum = io.block_sizes[0]
        for start, length in (widened(*one, minimum) for one in RANGES):
            for flags in (CommandFlag.FAST_ZERO | CommandFlag.NO_HOLE, CommandFlag.FAST_ZERO):
                error = io.attempt(Command.WRITE_ZEROES, start, length, flags)
                seen = request_name(Command.WRITE_ZEROES, start, length, flags)
                log(f"{seen}: {errno_name(error)}")
                answers = f"{seen}: expected success or ENOTSUP, got {errno_name(error)}"
                assert error in (0, errno.ENOTSUP), answers
    disk.verify()
