"""This case checks that requests of no bytes change nothing and keep the stream in step.

How: every command with length 0, at 0, in the middle and at the end, with what follows on the same
connection right; the document leaves open whether they succeed.
Guards: zero-length-op, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome, serves


@case(groups="protocol", requires="nbd")
def test(disk, target):
    commands = [Command.READ, Command.WRITE]
    commands += [Command.TRIM] if "discard" in target.capabilities else []
    commands += [Command.WRITE_ZEROES] if "write_zeroes" in target.capabilities else []
    commands += [Command.CACHE] if "cache" in target.capabilities else []
    for command in commands:
        with haggling(disk) as client:
            enter(client, disk)
            for offset in (0, 4096, disk.size):
                if outcome(client, command, offset, 0) == CLOSED:
                    break
                assert bytes(client.read(0, 512)) == disk.shadow.expected(0, 512)
    assert serves(disk)
    disk.verify()
