"""This case checks that a failed flush shows in qemu-io's exit status and harms no later write.

How: before QEMU 11 qemu-io prints nothing for a failed flush, so only its exit status shows it. The
data must be right. Without a write since the last flush none is sent, and the rule does not fire.
Guards: close-error-lost.
Related: flush-error-swallowed.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename
from qbdcheck.kit.expectations import expect_failure


@case(groups="inject errors flush", basis="MUST: fsync(2), ERRORS")
def test(disk, qemu_io):
    faulty = json_filename(blkdebug(disk.protocol_blockdev(), error(iotype="flush")))
    io = qemu_io(faulty, shadow=disk.shadow)
    io.write(4096, 8192)
    io.flush()
    io.write(8192, 8192)
    io.read(0, 64 << 10)
    with expect_failure(ProgramError, "close of qemu-io after a failed flush", "a flush failed"):
        io.close()
    disk.verify()
    with qemu_io(faulty, shadow=disk.shadow) as io:
        io.flush()
        io.read(0, 64 << 10)
