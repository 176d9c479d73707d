"""This case checks that a command that nobody knows does nothing and harms nobody.

How: numbers beyond the document's, on a pipeline with reads around them; an error, or the end of
the connection, never success.
Guards: unadvertised-command-executed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome, serves


@case(groups="protocol", requires="nbd")
def test(disk):
    ended = 0
    for command in (8, 9, 99, 0x7FFF, 0xFFFF):
        with haggling(disk) as client:
            enter(client, disk)
            for _ in range(3):
                error = outcome(client, command, 0, 4096)
                assert error, f"command {command} succeeded"
                if error == CLOSED:
                    ended += 1
                    break
                assert bytes(client.read(0, 512)) == disk.shadow.expected(0, 512)
    assert serves(disk)
    disk.verify()
