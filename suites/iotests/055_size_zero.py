"""This case checks that a volume of 0 bytes can be made, opened, and refuses every byte.

How: on the wire the size is 0, reads and writes fail, flush and the connection live; then grow it
where the target can, and use it.
Guards: zero-length-op, oob-past-end, size-rounded-up.
"""

import errno

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command


@case(groups="size quick protocol", requires="nbd raw_size")
def test(new_disk, nbd_io, target, qemu_io):
    disk = new_disk(0, prefill=False)
    with nbd_io(disk) as io:
        assert io.client.size == 0, f"asked for 0 bytes, the export has {io.client.size}"
        io.must_refuse(Command.READ, 0, 1, errnos=(errno.EINVAL,))
        io.must_refuse(Command.WRITE, 0, 1, errnos=(errno.ENOSPC, errno.EINVAL))
        io.flush()
    if "resize" in target.capabilities:
        disk.resize(65536)
        with qemu_io(disk) as io:
            io.write(61440, 4096)
        disk.verify()
