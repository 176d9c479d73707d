"""This case checks that a refused write changes nothing, and its payload is not read as requests.

How: writes beyond the end, with a payload that is itself a valid request to overwrite the disk;
then a read on the same connection, where that still lives.
Guards: payload-not-drained, size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome, serves


@case(groups="protocol size", requires="nbd")
def test(disk):
    end = disk.size
    poison = (m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE, 1, 0, 484) + b"\xbd" * 484) * 64
    for offset in (end, end - 512, 1 << 32, 1 << 63, (1 << 64) - 512, (1 << 64) - len(poison)):
        for length in (1024, len(poison)):
            with haggling(disk) as client:
                enter(client, disk)
                error = outcome(client, Command.WRITE, offset, length, 0, poison[:length])
                assert error, f"write of {length} at {offset:#x} succeeded"
                if error != CLOSED:
                    assert bytes(client.read(0, 4096)) == disk.shadow.expected(0, 4096)
    assert serves(disk)
    disk.verify()
