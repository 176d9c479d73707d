"""This case checks that the backend itself refuses requests beyond its end.

How: QEMU never sends such requests, so a raw client does. Each command goes at, across and far
behind the end, also where offset + length overflows. The connection must stay usable, and every
sector must stay the same.
Guards: oob-past-end, offset-len-overflow, error-kills-connection.
"""

from errno import EINVAL, EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name, expect_content
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_requests import expect_error, is_offered, request_name

EXPECTED = (EINVAL, ENOSPC, EIO)

COMMANDS = (Command.READ, Command.WRITE, Command.TRIM, Command.WRITE_ZEROES)


@case(
    groups="rw quick errors protocol",
    requires="nbd",
    basis=("SHOULD: NBD, Request types", "POLICY: refused-request-changes-nothing"),
)
def test(disk, nbd, log, target):
    minimum = target.minimum_block
    block = max(512, minimum)
    offsets = disk.size, disk.size + 8 * block, 1 << 62, 1 << 63, (1 << 64) - block
    ranges = [(offset, block) for offset in offsets]
    ranges.insert(1, (disk.size - minimum, max(block, 2 * minimum)))  # across the end
    with nbd(disk) as client:
        for command in (one for one in COMMANDS if is_offered(client, one)):
            for offset, length in ranges:
                payload = b"\xee" * length if command == Command.WRITE else b""
                error = expect_error(
                    client, command, offset, length, errnos=EXPECTED, payload=payload
                )
                log(f"{request_name(command, offset, length)}: {errno_name(error)}")
        expect_content(disk.shadow, 0, client.read(0, disk.size), "the whole volume")
    disk.verify()
