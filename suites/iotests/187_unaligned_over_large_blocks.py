"""This case checks that QEMU's read-modify-write over large blocks keeps every byte.

How: minimum blocks of 4096 and 65536 bytes. qemu-io writes and zeroes odd ranges, one after another
and in flight together. Discards are aligned, because QEMU's client does not align them
(docs/findings.md, qemu-client-unaligned-discard).
Guards: sector-unit-mismatch.
Related: unaligned-offset-rounded, iov-offset-ignored.
"""

from qbdcheck.kit import IoFailed, case

RANGES = ((1, 1), (511, 2), (4095, 2), (5000, 9000), (65535, 2), (70000, 130000), (300001, 7))


@case(
    groups="blocksize rw",
    requires="min_block write_zeroes",
    basis=("MUST: NBD, Block size constraints", "MUST: NBD, NBD_CMD_READ"),
)
def test(new_disk, qemu_io):
    for minimum in (4096, 65536):
        disk = new_disk("2M", min_block=minimum)
        with qemu_io(disk) as io:
            for start, length in RANGES:
                try:
                    io.write(start, length)
                    io.write_zeroes((1 << 20) + start, length)
                except IoFailed as error:
                    raise AssertionError(
                        f"with a minimum block of {minimum} bytes: {error}"
                    ) from error
            io.discard((1 << 20) + (512 << 10), minimum)
            for number in range(16):
                io.aio_write(800_001 + number * 1000, 1000)
            io.drain()
        disk.verify()
