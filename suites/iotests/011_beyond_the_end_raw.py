"""This case checks that the backend itself refuses requests beyond its end.

How: QEMU never sends such requests, so a raw client does. Each command goes at, across and far
behind the end, also where offset + length overflows. Each gets an error, or the end of the
connection, and every sector must stay the same.
Guards: oob-past-end, offset-len-overflow, error-kills-connection.
"""

from errno import EINVAL, EIO, ENOSPC

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_io import CLOSED
from qbdcheck.kit.nbd_requests import is_offered, request_name

EXPECTED = (EINVAL, ENOSPC, EIO)

COMMANDS = (Command.READ, Command.WRITE, Command.TRIM, Command.WRITE_ZEROES)


@case(
    groups="rw quick errors protocol",
    requires="nbd",
    basis=("SHOULD: NBD, Request types", "POLICY: refused-request-changes-nothing"),
)
def test(disk, nbd_io, log, target):
    minimum = target.minimum_block
    block = max(512, minimum)
    offsets = disk.size, disk.size + 8 * block, 1 << 62, 1 << 63, (1 << 64) - block
    ranges = [(offset, block) for offset in offsets]
    ranges.insert(1, (disk.size - minimum, max(block, 2 * minimum)))  # across the end
    io = nbd_io(disk)
    for command in (one for one in COMMANDS if is_offered(io.client, one)):
        for offset, length in ranges:
            payload = b"\xee" * length if command == Command.WRITE else b""
            error = io.must_refuse(command, offset, length, data=payload)
            name = request_name(command, offset, length)
            if error == CLOSED:  # a client MUST NOT send it ("Terminating the transmission phase")
                log(f"{name}: the server closed the connection")
                io = nbd_io(disk)
                continue
            log(f"{name}: {errno_name(error)}")
            wanted = " or ".join(map(errno_name, EXPECTED))
            assert error in EXPECTED, f"{name}: expected {wanted}, got {errno_name(error)}"
    io.read(0, disk.size)
    disk.verify()
