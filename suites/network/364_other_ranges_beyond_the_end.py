"""This case checks that WRITE_ZEROES, TRIM and CACHE beyond the end change nothing.

How: each of these commands that the server offers, at the end and where offset + length overflows.
WRITE_ZEROES must fail; TRIM and CACHE are advice and may succeed.
Related: size-rounded-up, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, connected, errno_of, is_serving

COMMANDS = {"discard": Command.TRIM, "write_zeroes": Command.WRITE_ZEROES, "cache": Command.CACHE}


@case(
    groups="protocol size",
    requires="nbd",
    basis=("SHOULD: NBD, Request types", "POLICY: refused-request-changes-nothing"),
)
def test(disk, target, not_run):
    end = disk.size
    commands = {
        "discard": Command.TRIM,
        "write_zeroes": Command.WRITE_ZEROES,
        "cache": Command.CACHE,
    }
    offered = [commands[name] for name in commands if name in target.capabilities]
    if not offered:
        not_run("the server offers neither WRITE_ZEROES nor TRIM nor CACHE")
    for command in offered:
        for offset in (end, end - 512, end + 512, 1 << 63, (1 << 64) - 1024, (1 << 64) - 512):
            with connected(disk) as io:
                if command is Command.WRITE_ZEROES:
                    error = io.must_refuse(command, offset, 1024)
                else:
                    error = errno_of(io.client, command, offset, 1024)
                if error != CLOSED:
                    io.read(0, 4096)
    assert is_serving(disk), "a new client is not served after requests beyond the end"
    disk.verify()
