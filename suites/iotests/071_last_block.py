"""This case checks that the last block of a volume can be used in every way, and nothing behind it.

How: volumes that end inside a 4 KiB block; reads, writes, zeroes and discards that end exactly at
the end; one byte further must fail and must not grow the volume.
Guards: last-block-overrun, oob-past-end, size-rounded-up, status-unaligned-eof.
"""

import pytest

from qbdcheck.kit import ProgramError, case


@case(groups="size rw", requires="write_zeroes discard")
def test(new_disk, qemu_io, qemu_img):
    for size in ((1 << 20) + 512, (1 << 20) + 3584, (64 << 10) - 512):
        disk = new_disk(size)
        with qemu_io(disk) as io:
            for length in (1, 512, 513, 4096, 9000):
                io.write(size - length, length)
                io.read(size - length, length)
            io.write_zeroes(size - 5000, 5000, unmap=True)
            io.write(size - 1, 1)
            io.discard(size - 512, 512)
            io.write(size - 100, 100)
        for command in ("read", "write -P 1", "write -z", "discard"):
            io = qemu_io(disk)
            with pytest.raises(ProgramError):
                io.request(f"{command} {size - 512} 1024")
            io.abandon()
        assert qemu_img.json("info", disk.filename)["virtual-size"] == size
        disk.verify()
