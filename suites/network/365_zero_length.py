"""This case checks that requests of length 0 change nothing and do not disturb the connection.

How: each command with length 0, at the start, in the middle and at the end; then a read of the
right data on the same connection. The NBD document leaves open whether such requests succeed.
Guards: zero-length-op.
Related: payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, connected, errno_of, is_serving


@case(groups="protocol", requires="nbd", basis="POLICY: zero-length-changes-nothing")
def test(disk, target):
    commands = [Command.READ, Command.WRITE]
    commands += [Command.TRIM] if "discard" in target.capabilities else []
    commands += [Command.WRITE_ZEROES] if "write_zeroes" in target.capabilities else []
    commands += [Command.CACHE] if "cache" in target.capabilities else []
    for command in commands:
        with connected(disk) as io:
            for offset in (0, 4096, disk.size):
                if errno_of(io.client, command, offset, 0) == CLOSED:
                    break
                io.read(0, 4096)
    assert is_serving(disk), "a new client is not served after requests of length 0"
    disk.verify()
