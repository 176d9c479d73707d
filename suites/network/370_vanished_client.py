"""This case checks that a client that vanishes with requests in flight ends nobody else.

How: 400 reads sent, none of the replies taken, the socket closed; three times; a bystander's
connection and a fresh client are served on.
Guards: inflight-hang-on-disconnect, connection-slot-leak.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import enter, haggling, serves


@case(groups="protocol concurrent", requires="nbd")
def test(disk):
    with haggling(disk) as bystander:
        enter(bystander, disk)
        for _ in range(3):
            with haggling(disk) as client:
                enter(client, disk)
                client.sock.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    for _ in range(400):
                        client.send_request(Command.READ, 0, 64 << 10)
            assert bytes(bystander.read(0, 512)) == disk.shadow.expected(0, 512)
    assert serves(disk)
    disk.verify()
