"""This case checks that a read-only export refuses each write, skips its payload, and still reads.

How: writes, zeroes and trims, with and without FUA, whose payload is itself a request.
Guards: unadvertised-command-executed, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command, TransmissionFlag
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import CLOSED, connected
from qbdcheck.kit.nbd_requests import describe

WRITES = (Command.WRITE, Command.WRITE_ZEROES, Command.TRIM)


@case(
    groups="protocol quick",
    requires="nbd read_only",
    basis=("MUST: NBD, Transmission flags", "POLICY: refused-request-changes-nothing"),
)
def test(new_disk):
    disk = new_disk("1M", read_only=True)
    payload = (m.REQUEST.pack(REQUEST_MAGIC, 0, Command.WRITE_ZEROES, 9, 0, 65536) * 147)[:4096]
    with connected(disk) as io:
        client = io.client
        flags = int(client.flags)
        assert flags & TransmissionFlag.READ_ONLY, f"flags {flags:#x}: READ_ONLY is not set"
        before = bytes(client.read(0, 65536))
    for command in WRITES:
        for flags in (0, 1):
            with connected(disk) as io:
                data = payload if command is Command.WRITE else b""
                if io.must_refuse(command, 0, 4096, flags, data=data) != CLOSED:
                    after = bytes(io.client.read(0, 65536))
                    what = describe(command, 0, 4096, flags)
                    assert after == before, f"{what} was refused, and changed the volume"
    with connected(disk) as io:
        after = bytes(io.client.read(0, 65536))
        assert after == before, "the first 65536 bytes of a read-only volume changed"
