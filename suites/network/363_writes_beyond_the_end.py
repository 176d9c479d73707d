"""This case checks that a refused write changes nothing, and its payload is not parsed as requests.

How: writes beyond the end whose payload is a valid request to overwrite the disk; then a read on
the same connection, if it is still open. A reply to a request of a payload shows that the server
carried it out.
Guards: payload-not-drained.
Related: size-rounded-up.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command, NbdProtocolError
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import CLOSED, connected, is_serving
from qbdcheck.kit.nbd_requests import request_name

INNER = 0x7061_796C_6F61_6421
"""The cookie of the requests in a payload."""


@case(
    groups="protocol size quick",
    requires="nbd",
    basis=("SHOULD: NBD, NBD_CMD_WRITE", "POLICY: refused-request-changes-nothing"),
)
def test(disk):
    end = disk.size
    poison = (m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, INNER, 0, 484) + b"\xbd" * 484) * 64
    for offset in (end, end - 512, 1 << 32, 1 << 63, (1 << 64) - 512, (1 << 64) - len(poison)):
        for length in (1024, len(poison)):
            name = request_name(Command.WRITE, offset, length)
            with connected(disk) as io, payload_is_skipped(name):
                error = io.must_refuse(Command.WRITE, offset, length, data=poison[:length])
                if error != CLOSED:
                    io.read(0, 4096)
    assert is_serving(disk), "a new client is not served after writes beyond the end"
    disk.verify()


@contextlib.contextmanager
def payload_is_skipped(name):
    """Say of a reply to a request of the payload what it means."""
    try:
        yield
    except NbdProtocolError as error:
        if f"{INNER:#018x}" not in str(error):
            raise
        wrong = f"{name} was refused, and its payload was carried out as requests"
        raise NbdProtocolError(f"{wrong}: {error}") from None
