"""This case checks that writes with FUA, alone and among others, leave the right data.

How: writes with and without FUA go to the same and to neighbouring sectors. If the target supports
a power cut, one follows, and what was written with FUA must still be there.
Guards: fua-write-ack-early, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.server_ends import cut


@case(
    groups="rw flush", requires="fua", basis=("MUST: NBD, Command flags", "MUST: NBD, NBD_CMD_READ")
)
def test(disk, qemu_io, target):
    with qemu_io(disk) as io:
        for sector in range(0, 64, 4):
            io.write(sector * 512, 1024)
            io.write(sector * 512 + 512, 1024, fua=True)
        io.write(2 << 20, 512 << 10, fua=True)
        io.write((3 << 20) + 13, 5000, fua=True)
        io.read(0, 40 << 10)
    disk.verify()
    if "sudden_end" in target.capabilities:
        io = qemu_io(disk)
        io.write(4 << 20, 64 << 10, fua=True)
        io.write(5 << 20, 64 << 10)
        cut(disk)
        io.abandon()
        disk.shadow.power_cut()
        disk.verify()
