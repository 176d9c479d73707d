"""This case checks that flushed zeroes, discards and writes are there after the backend is killed.

How: zeroes, discards and writes next to one another and over one another, then a flush, SIGKILL, a
restart, and a comparison.
Guards: zero-unmap-not-durable, flush-noop, close-drops-dirty.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_same


@case(
    groups="zero discard flush crash quick",
    requires="write_zeroes discard flush kill",
    basis=(
        "MUST: NBD, NBD_CMD_FLUSH",
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "POLICY: discard-old-or-zero",
    ),
)
def test(disk, qemu_io):
    for start in (0, 4 << 20):
        with qemu_io(disk) as io:
            io.write_zeroes(start, 1 << 20, unmap=True)
            io.discard(start + (1 << 20), 1 << 20)
            io.write(start + (512 << 10), 64 << 10)
            io.write(start + (1 << 20) + 4096, 8192)
            io.write_zeroes(start + (1 << 20) + 8192, 4096)
            io.flush()
            before = io.read(start + (1 << 20), 64 << 10)
        disk.backend.kill()
        disk.backend.start()
        with qemu_io(disk) as io:
            expect_same(
                io.read(start + (1 << 20), 64 << 10),
                before,
                "the discarded range after the restart",
            )
    disk.verify()
