"""This case checks that WRITE_ZEROES with each of its flags zeroes its range, or changes nothing.

How: NO_HOLE, FAST_ZERO and FUA, alone and together, aligned and not; FAST_ZERO may fail with
ENOTSUP and has then changed nothing.
Guards: write-zeroes-noop, zero-flags-lost, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, CommandFlag
from qbdcheck.kit.nbd_probe import outcome

ENOTSUP = 95


@case(groups="protocol zero quick", requires="nbd write_zeroes")
def test(disk, nbd, target):
    flags = [0, int(CommandFlag.NO_HOLE)]
    flags += [each | CommandFlag.FUA for each in flags if "fua" in target.capabilities]
    flags += [each | CommandFlag.FAST_ZERO for each in flags if "fast_zero" in target.capabilities]
    with nbd(disk, contexts=(), structured=False) as client:
        for number, bits in enumerate(flags):
            for offset, length in ((0, 65536), (131072 + 512, 1024), (196608 + 512, 65536)):
                at = (number << 19) + offset
                error = outcome(client, Command.WRITE_ZEROES, at, length, bits)
                if error == 0:
                    disk.shadow.zero(at, length)
                else:
                    assert error == ENOTSUP and bits & CommandFlag.FAST_ZERO, f"{bits:#x}: {error}"
                seen = bytes(client.read(at - min(at, 512), length + 1024))
                disk.shadow.settle(at - min(at, 512), seen)
    disk.verify()
