"""This case checks that the last block of a volume can be used in every way, and nothing behind it.

How: volumes that end inside a 4 KiB block, as far as the target makes such sizes. Reads, writes,
zeroes and discards end exactly at the end. One that ends behind it must fail and must not grow the
volume.
Guards: last-block-overrun.
Related: oob-past-end, size-rounded-up, status-unaligned-eof.
"""

from qbdcheck.kit import ProgramError, case
from qbdcheck.kit.expectations import expect_failure, expect_size
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_requests import widened
from qbdcheck.kit.volume_limits import size_unit

SIZES = ((1 << 20) + 512, (1 << 20) + 3584, (64 << 10) - 512)


@case(
    groups="size rw",
    requires="write_zeroes discard",
    basis=(
        "MUST: NBD, NBD_CMD_READ",
        "MUST: NBD, NBD_CMD_WRITE_ZEROES",
        "POLICY: refused-request-changes-nothing",
    ),
)
def test(new_disk, qemu_io, qemu_img, target):
    unit = size_unit(target)
    for size in sorted({widened(0, size, unit)[1] for size in SIZES}):
        disk = new_disk(size)
        discarded = max(512, minimum_block(disk))
        with qemu_io(disk) as io:
            for length in (1, 512, 513, 4096, 9000):
                io.write(size - length, length)
                io.read(size - length, length)
            io.write_zeroes(size - 5000, 5000, unmap=True)
            io.write(size - 1, 1)
            io.discard(size - discarded, discarded)
            io.write(size - 100, 100)
        for command in ("read", "write -P 1", "write -z", "discard"):
            io = qemu_io(disk)
            with expect_failure(
                ProgramError, f"{command} of 1024 bytes at {size - 512}, across the end"
            ):
                io.request(f"{command} {size - 512} 1024")
            io.abandon()
        expect_size(qemu_img, disk.filename, size)
        disk.verify()
