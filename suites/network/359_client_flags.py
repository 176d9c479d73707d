"""This case checks that client flags that nobody knows end the connection, as the document demands.

How: each unknown bit alone and all together ("the server MUST close the TCP connection").
Guards: handshake-length-off.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import haggling, is_closed, serves

UNKNOWN = (1 << 2, 1 << 3, 1 << 15, 1 << 16, 1 << 31, 0xFFFFFFFC)


@case(groups="protocol", requires="nbd")
def test(disk):
    for bits in UNKNOWN:
        with haggling(disk, client_flags=None) as client:
            client.send(m.CLIENT_FLAGS.pack(3 | bits) + m.option(Option.LIST))
            client.sock.settimeout(5)
            try:
                answer = client.sock.recv(20)
            except ConnectionError:
                answer = b""
            assert not answer, f"client flags {3 | bits:#x} were taken"
            assert is_closed(client)
    assert serves(disk)
