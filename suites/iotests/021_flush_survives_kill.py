"""This case checks that flushed data is there after the backend is killed and started again.

How: half of the writes are flushed. After SIGKILL and a restart every sector is compared: flushed
data must be there, other sectors may be old or new.
Guards: flush-noop, torn-write, close-drops-dirty.
"""

from qbdcheck.kit import case


@case(groups="rw quick flush", requires="flush kill", basis="MUST: NBD, NBD_CMD_FLUSH")
def test(disk, qemu_io):
    io = qemu_io(disk)
    for number in range(16):
        io.write(number * 300_001, 70_000)
    io.flush()
    for number in range(16):
        io.write(number * 300_001 + 50_000, 40_000)
    disk.backend.kill()
    io.abandon()
    disk.shadow.power_cut()
    disk.backend.start()
    disk.verify()
