"""This case checks that the smallest volume can be made and opened, and refuses every byte beyond.

How: a volume of 0 bytes, or of the smallest size that the target can make. The export must have
that size. Reads and writes behind its end must fail, and the connection must stay usable. If the
target can resize volumes, the volume then grows and is used.
Related: zero-length-op, oob-past-end, size-rounded-up.
"""

from errno import EINVAL, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_io import CLOSED
from qbdcheck.kit.volume_limits import first_possible

SIZES = (0, 1, 512, 4096, 65536, 1 << 20, 4 << 20)


@case(
    groups="size quick protocol",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_GO", "SHOULD: NBD, Request types"),
)
def test(nbd_io, target, qemu_io, log):
    disk = first_possible(target, SIZES, log)
    for command, errnos in ((Command.READ, {EINVAL}), (Command.WRITE, {ENOSPC, EINVAL})):
        with nbd_io(disk) as io:
            error = io.must_refuse(command, disk.size, io.block_sizes[0])
            seen = f"{command.name} behind the end: {errno_name(error)}"
            assert error in {*errnos, CLOSED}, seen
    with nbd_io(disk) as io:
        io.flush()
    if "resize" in target.capabilities:
        disk.resize(8 << 20)
        with qemu_io(disk) as io:
            io.write(61440, 4096)
        disk.verify()
