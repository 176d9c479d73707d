"""This case checks that a read-only export refuses each write, drains it, and still reads.

How: writes, zeroes and trims, with and without FUA, whose payload is itself a request.
Guards: unadvertised-command-executed, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command, TransmissionFlag
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import CLOSED, enter, haggling, outcome, serves

WRITES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


@case(groups="protocol quick", requires="nbd read_only")
def test(new_disk):
    disk = new_disk("1M", read_only=True)
    payload = (m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE_ZEROES, 9, 0, 65536) * 147)[:4096]
    with haggling(disk) as client:
        enter(client, disk)
        assert client.flags & TransmissionFlag.READ_ONLY
        before = bytes(client.read(0, 65536))
    for command in WRITES:
        for flags in (0, 1):
            with haggling(disk) as client:
                enter(client, disk)
                data = payload if command is Command.WRITE else b""
                error = outcome(client, command, 0, 4096, flags, data)
                assert error, f"{command.name} on a read-only export succeeded"
                if error != CLOSED:
                    assert bytes(client.read(0, 65536)) == before
    assert serves(disk)
    with haggling(disk) as client:
        enter(client, disk)
        assert bytes(client.read(0, 65536)) == before
