"""This case checks that a refused write changes nothing, and its payload is not parsed as requests.

How: writes beyond the end whose payload is a valid request to overwrite the disk; then a read on
the same connection, if it is still open.
Guards: payload-not-drained, size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import CLOSED, connected, is_serving


@case(
    groups="protocol size",
    requires="nbd",
    basis=("SHOULD: NBD, NBD_CMD_WRITE", "POLICY: refused-request-changes-nothing"),
)
def test(disk):
    end = disk.size
    poison = (m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 1, 0, 484) + b"\xbd" * 484) * 64
    for offset in (end, end - 512, 1 << 32, 1 << 63, (1 << 64) - 512, (1 << 64) - len(poison)):
        for length in (1024, len(poison)):
            with connected(disk) as io:
                error = io.must_refuse(Command.WRITE, offset, length, data=poison[:length])
                if error != CLOSED:
                    io.read(0, 4096)
    assert is_serving(disk), "a new client is not served after writes beyond the end"
    disk.verify()
