"""This case checks that an unknown command has no effect.

How: command numbers beyond those of the NBD document, with reads between them. Each gets an error
or the end of the connection, never success.
Related: unadvertised-command-executed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_probe import CLOSED, connected, is_serving


@case(groups="protocol", requires="nbd", basis="SHOULD: NBD, Request types")
def test(disk):
    for command in (8, 9, 99, 0x7FFF, 0xFFFF):
        with connected(disk) as io:
            for _ in range(3):
                if io.must_refuse(command, 0, 4096) == CLOSED:
                    break
                io.read(0, 4096)
    assert is_serving(disk), "a new client is not served after unknown commands"
    disk.verify()
