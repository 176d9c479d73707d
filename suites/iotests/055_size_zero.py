"""This case checks that the smallest volume can be made and opened, and refuses every byte beyond.

How: a volume of 0 bytes, or of the smallest size that the target can make. The export must have
that size. Reads and writes behind its end must fail, and the connection must stay usable. If the
target can resize volumes, the volume then grows and is used.
Guards: zero-length-op, oob-past-end, size-rounded-up.
"""

from errno import EINVAL, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.volume_limits import first_possible

SIZES = (0, 1, 512, 4096, 65536, 1 << 20, 4 << 20)


@case(
    groups="size quick protocol",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_GO", "SHOULD: NBD, Request types"),
)
def test(nbd_io, target, qemu_io, log):
    disk = first_possible(target, SIZES, log)
    with nbd_io(disk) as io:
        minimum = io.block_sizes[0]
        io.must_refuse(Command.READ, disk.size, minimum, errnos=(EINVAL,))
        io.must_refuse(Command.WRITE, disk.size, minimum, errnos=(ENOSPC, EINVAL))
        io.flush()
    if "resize" in target.capabilities:
        disk.resize(8 << 20)
        with qemu_io(disk) as io:
            io.write(61440, 4096)
        disk.verify()
