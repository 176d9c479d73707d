"""This case checks that data written through each kind of asynchronous I/O is right.

How: threads, native and io_uring, with single requests and with many in flight. Only QEMU's drivers
of files and devices have these modes; others ignore them.
Guards: async-error-ignored, shared-cursor-race, short-read-resume-offset.
"""

from qbdcheck.kit import case

MODES = (("threads", "writeback"), ("native", "none"), ("io_uring", "writeback"),
         ("io_uring", "none"))  # fmt: skip


@case(groups="rw concurrent", formats="any", requires="aio_native", basis="MUST: NBD, NBD_CMD_READ")
def test(disk, qemu_io):
    for number, (aio, cache) in enumerate(MODES):
        with qemu_io(disk, cache=cache, aio=aio) as io:
            io.write(number << 20, 100_000)
            io.write((number << 20) + 4097, 511)
            for part in range(16):
                io.aio_write((4 << 20) + (16 * number + part) * 32768, 32768)
            io.drain()
            io.read(number << 20, 10_000)
    disk.verify()
