"""This case checks that a client that vanishes with requests in flight harms no other client.

How: 400 reads are sent, no reply is received, and the socket is closed; three times. Another
connection and a new client are still served.
Guards: inflight-hang-on-disconnect.
Related: connection-slot-leak.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import connected, is_serving


@case(
    groups="protocol concurrent", requires="nbd", basis="POLICY: clients-do-not-disturb-each-other"
)
def test(disk):
    with connected(disk) as other:
        for _ in range(3):
            with connected(disk) as io:
                client = io.client
                client.sock.settimeout(0.05)
                with contextlib.suppress(TimeoutError):
                    for _ in range(400):
                        client.send_request(Command.READ, 0, 64 << 10)
            other.read(0, 4096)
    assert is_serving(disk), "a new client is not served after clients that vanished"
    disk.verify()
