"""This case checks that an option with a wrong magic ends its connection and no other.

How: each byte of IHAVEOPT wrong in turn; options cut short or shifted by a byte.
Related: handshake-length-off, probe-or-abort-kills-server.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import connected, is_closed, is_serving, negotiating

FILLER = bytes(64)


@case(
    groups="protocol",
    requires="nbd",
    basis=("MUST: NBD, Newstyle negotiation", "POLICY: clients-do-not-disturb-each-other"),
)
def test(disk, policy):
    right = m.option(Option.LIST)
    with connected(disk) as other:
        for place in range(8):
            wrong = bytearray(right)
            wrong[place] ^= 0x20
            with negotiating(disk) as client:
                client.send(wrong + FILLER)
                assert is_closed(client), f"an option with byte {place} of its magic wrong"
            other.read(0, 4096)
        for stream in (right[1:] + FILLER, b"\0" + right + FILLER, b"GET / HTTP/1.1\r\n\r\n" * 4):
            with negotiating(disk) as client:
                client.send(stream)
                assert is_closed(client), f"{stream[:20]!r} does not end the connection"
        other.read(0, 4096)
    with policy("clients-do-not-disturb-each-other"):
        assert is_serving(disk), "a new client is not served after wrong magics"
