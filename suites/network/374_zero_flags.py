"""This case checks that WRITE_ZEROES with any of its flags zeroes its range, or changes nothing.

How: NO_HOLE, FAST_ZERO and FUA, alone and together, at several offsets. FAST_ZERO may fail with
ENOTSUP, and must then have changed nothing.
Guards: write-zeroes-noop.
Related: zero-flags-lost, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import wrong_errno
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_requests import describe

ENOTSUP = 95


@case(
    groups="protocol zero quick",
    requires="raw_requests write_zeroes",
    basis="MUST: NBD, NBD_CMD_WRITE_ZEROES",
)
def test(disk, nbd_io, target):
    flags = [0, int(CommandFlag.NO_HOLE)]
    flags += [each | CommandFlag.FUA for each in flags if "fua" in target.capabilities]
    flags += [each | CommandFlag.FAST_ZERO for each in flags if "fast_zero" in target.capabilities]
    with nbd_io(disk, contexts=(), structured=False) as io:
        unit = max(512, io.block_sizes[0])
        for number, bits in enumerate(flags):
            for offset, length in ((0, 65536), (131072 + unit, 2 * unit), (196608 + unit, 65536)):
                at = (number << 19) + offset
                error = io.attempt(Command.WRITE_ZEROES, at, length, bits)
                allowed = (0, ENOTSUP) if bits & CommandFlag.FAST_ZERO else (0,)
                if error not in allowed:
                    what = describe(Command.WRITE_ZEROES, at, length, bits)
                    raise wrong_errno(what, error, *allowed)
                before = min(at, unit)
                io.read(at - before, before + length + unit)
    disk.verify()
