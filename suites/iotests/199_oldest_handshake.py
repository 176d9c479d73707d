"""This case checks that a client that can only use EXPORT_NAME gets the same volume as QEMU.

How: the handshake of the oldest clients. Its size and flags must be those that GO reports, and data
must be written and read.
Guards: handshake-length-off, size-rounded-down, size-change-across-reconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_equal, expect_same
from qbdcheck.kit.nbd_requests import read_range, write_stamped


@case(groups="names protocol quick", requires="nbd")
def test(disk, nbd):
    shadow = disk.shadow
    with nbd(disk) as modern:
        size, flags = modern.size, modern.flags
    for number in range(2):
        with nbd(disk, export_name=True) as client:
            expect_equal(client.size, size, "the size by EXPORT_NAME")
            wrong = f"EXPORT_NAME: expected the flags {int(flags):#x}, got {int(client.flags):#x}"
            assert client.flags & 0b111 == flags & 0b111, wrong
            data = write_stamped(client, shadow, number << 20, 4096)
            expect_same(
                read_range(client, number << 20, 4096),
                data,
                f"READ of 4096 bytes at offset {number << 20}",
            )
    disk.verify()
