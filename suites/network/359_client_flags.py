"""This case checks that unknown client flags end the connection, as the NBD document demands.

How: each unknown bit alone and all together ("the server MUST close the TCP connection").
Related: handshake-length-off.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import is_closed, is_serving, negotiating

UNKNOWN = (1 << 2, 1 << 3, 1 << 15, 1 << 16, 1 << 31, 0xFFFFFFFC)


@case(groups="protocol", requires="nbd", basis="MUST: NBD, Client flags")
def test(disk):
    for bits in UNKNOWN:
        with negotiating(disk, client_flags=None) as client:
            client.send(m.CLIENT_FLAGS.pack(3 | bits) + m.option(Option.LIST))
            client.sock.settimeout(5)
            try:
                answer = client.sock.recv(20)
            except ConnectionError:
                answer = b""
            assert not answer, f"the server answers a client with the flags {3 | bits:#x}"
            assert is_closed(client), f"client flags {3 | bits:#x}: the connection stays open"
    assert is_serving(disk), "a new client is not served after clients with unknown flags"
