"""This case checks that a volume has exactly the bytes that were asked for, to the last one.

How: odd sizes from 1 byte up; the negotiated size, the last byte, the first byte beyond it.
Guards: size-rounded-down, size-rounded-up, oob-past-end, last-block-overrun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command

SIZES = (1, 511, 512, 513, 1023, 4095, 4097, 65537, (1 << 20) + 1)


@case(groups="size protocol", requires="nbd raw_size")
def test(new_disk, nbd_io):
    for size in SIZES:
        disk = new_disk(size, prefill=False)
        with nbd_io(disk) as io:
            assert io.client.size == size, f"asked for {size} bytes, got {io.client.size}"
            data = io.write(0, size)
            io.write(size - 1, 1, data=bytes([data[-1] ^ 0xFF]))
            for offset, length in ((size, 1), (size - 1, 2), (size + 4096, 512)):
                io.must_refuse(Command.READ, offset, length)
                io.must_refuse(Command.WRITE, offset, length)
            io.read(0, size)
        with nbd_io(disk) as io:
            assert io.client.size == size, f"{size} bytes at first, then {io.client.size}"
