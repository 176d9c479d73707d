"""This case checks that what was flushed is there after the backend was killed and started again.

How: half of the writes are flushed, half are not; then SIGKILL, start, and a look at every sector:
flushed data is there, the rest is old or new.
Guards: flush-noop, torn-write, close-drops-dirty.
"""

from qbdcheck.kit import case


@case(groups="rw quick flush", requires="flush kill")
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
