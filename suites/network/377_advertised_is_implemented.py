"""This case checks that each advertised command works, and that others have no false success.

How: each transmission flag of the export against its command. A command that is not advertised may
fail or work, but success must have its effect. CACHE may fail with EINVAL.
Guards: advertised-not-implemented.
Related: flush-not-advertised, unadvertised-command-executed.
"""

from errno import EINVAL

from qbdcheck.kit import case
from qbdcheck.kit.expectations import wrong_errno
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd import TransmissionFlag as Flag
from qbdcheck.kit.nbd_probe import connected, is_serving
from qbdcheck.kit.nbd_requests import describe

COMMANDS = {
    Flag.SEND_FLUSH: (Command.FLUSH, 0, 0),
    Flag.SEND_TRIM: (Command.TRIM, 65536, 65536),
    Flag.SEND_WRITE_ZEROES: (Command.WRITE_ZEROES, 131072, 65536),
    Flag.SEND_CACHE: (Command.CACHE, 0, 65536),
}


@case(groups="protocol quick", requires="nbd", basis="MUST: NBD, Transmission flags")
def test(disk):
    for flag, (command, offset, length) in COMMANDS.items():
        with connected(disk) as io:
            assert io.offers(Flag.HAS_FLAGS), f"flags {int(io.client.flags):#x} lack HAS_FLAGS"
            error = io.attempt(command, offset, length)
            allowed = (0, EINVAL) if command is Command.CACHE else (0,)
            if io.offers(flag) and error not in allowed:
                what = f"{describe(command, offset, length)}, which the export offers"
                raise wrong_errno(what, error, *allowed)
    assert is_serving(disk), "a new client is not served"
    disk.verify()
