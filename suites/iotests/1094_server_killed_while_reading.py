"""This case checks that a server that dies under reads causes errors, and never wrong data.

How: reads are in flight when the server is killed. Each ends with the right data or an error. After
the server is started again a new client reads everything.
Guards: inflight-hang-on-disconnect, short-read-keeps-buffer, last-block-overrun.
"""

from contextlib import suppress

from qbdcheck.kit import IoFailed, ProgramError, case

KIB = 1 << 10


@case(
    groups="rw crash concurrent reading",
    requires="kill",
    limit_s=60,
    basis="MUST: NBD, NBD_CMD_READ",
)
def test(disk, qemu_io, seed):
    random = seed.stream("places")
    for _ in range(3):
        io = qemu_io(disk, read_only=True)
        io.read(0, 64 * KIB)
        for _ in range(12):
            io.aio_read(random.randrange(disk.size - 64 * KIB), 64 * KIB)
        disk.backend.kill()
        with suppress(IoFailed, ProgramError):
            io.drain()
        with suppress(IoFailed, ProgramError):  # no server: an error, or the data of a buffer
            io.read(random.randrange(disk.size - 4 * KIB), 4 * KIB)
        io.abandon()
        disk.backend.start()
        with qemu_io(disk, read_only=True) as again:
            again.read(0, 1 << 20)
    disk.verify()
