"""This case checks that a failed flush shows in qemu-io's status and harms no later write.

How: qemu-io prints nothing for it, so only its end tells; the data is right all the same. Without a
write since the last flush none is sent, and the rule is not met.
Guards: flush-error-swallowed, close-error-lost.
"""

import pytest

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.blkdebug import blkdebug, error
from qbdcheck.kit.blockdev import json_filename


@case(groups="inject errors flush")
def test(disk, qemu_io):
    faulty = json_filename(blkdebug(disk.protocol_blockdev(), error(iotype="flush")))
    io = qemu_io(faulty, shadow=disk.shadow)
    io.write(4096, 8192)
    io.flush()
    io.write(8192, 8192)
    io.read(0, 64 << 10)
    with pytest.raises(ProgramError, match="a flush failed"):
        io.close()
    disk.verify()
    with qemu_io(faulty, shadow=disk.shadow) as io:
        io.flush()
        io.read(0, 64 << 10)
