"""This case checks that zeroes, trims, caches and status beyond the end fail and change nothing.

How: each command that the server offers, at the end and where the sum overflows.
Guards: size-rounded-up, discard-overreach.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome, serves


@case(groups="protocol size", requires="nbd")
def test(disk, target, not_run):
    end = disk.size
    words = {"discard": Command.TRIM, "write_zeroes": Command.WRITE_ZEROES, "cache": Command.CACHE}
    offered = [words[word] for word in words if word in target.capabilities]
    if not offered:
        not_run("the server has none of these commands")
    for command in offered:
        for offset in (end, end - 512, end + 512, 1 << 63, (1 << 64) - 1024, (1 << 64) - 512):
            with haggling(disk) as client:
                enter(client, disk)
                error = outcome(client, command, offset, 1024)
                assert error or command in (Command.TRIM, Command.CACHE), (
                    f"{command.name} at {offset:#x} succeeded"
                )
                if error != CLOSED:
                    assert bytes(client.read(0, 512)) == disk.shadow.expected(0, 512)
    assert serves(disk)
    disk.verify()
