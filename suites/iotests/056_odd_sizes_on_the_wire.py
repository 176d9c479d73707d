"""This case checks that a volume has exactly the size that was requested, to the last byte.

How: odd sizes from 1 byte up, rounded to the minimum block. The negotiated size, the last block,
and the first byte behind it are checked.
Guards: size-rounded-down, size-rounded-up, oob-past-end, last-block-overrun.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import (
    block_sizes,
    expect_error,
    expect_read,
    widened,
    write_stamped,
)

SIZES = (1, 511, 512, 513, 1023, 4095, 4097, 65537, (1 << 20) + 1)


@case(groups="size protocol", requires="nbd raw_size")
def test(new_disk, nbd):
    with nbd(new_disk("8M", prefill=False)) as client:
        minimum = block_sizes(client).minimum
    for size in sorted({widened(0, size, minimum)[1] for size in SIZES}):
        disk = new_disk(size, prefill=False)
        with nbd(disk) as client:
            assert client.size == size, f"expected an export of {size} bytes, got {client.size}"
            write_stamped(client, disk.shadow, 0, size)
            last = bytes([disk.shadow.expected(size - 1, 1)[0] ^ 0xFF]) * minimum
            client.write(size - minimum, last)
            disk.shadow.write(size - minimum, last)
            for offset, length in ((size, 1), (size - 1, 2), (size + 4096, 512)):
                expect_error(client, Command.READ, offset, length)
                expect_error(client, Command.WRITE, offset, length)
            expect_read(client, disk.shadow, 0, size)
        with nbd(disk) as client:
            again = f"second connection: expected {size} bytes, got {client.size}"
            assert client.size == size, again
