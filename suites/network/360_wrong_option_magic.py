"""This case checks that an option with a wrong magic ends its connection and none other.

How: each byte of IHAVEOPT wrong once, and options cut or shifted by a byte.
Guards: handshake-length-off, probe-or-abort-kills-server.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import enter, haggling, is_closed, serves

FILLER = bytes(64)


@case(groups="protocol", requires="nbd")
def test(disk):
    right = m.option(Option.LIST)
    with haggling(disk) as bystander:
        enter(bystander, disk)
        for place in range(8):
            wrong = bytearray(right)
            wrong[place] ^= 0x20
            with haggling(disk) as client:
                client.send(wrong + FILLER)
                assert is_closed(client), f"byte {place} of the magic does not matter"
            assert bytes(bystander.read(0, 512)) == disk.shadow.expected(0, 512)
        for words in (right[1:] + FILLER, b"\0" + right + FILLER, b"GET / HTTP/1.1\r\n\r\n" * 4):
            with haggling(disk) as client:
                client.send(words)
                assert is_closed(client), f"{words[:20]!r} does not end the connection"
        assert bytes(bystander.read(0, 512)) == disk.shadow.expected(0, 512)
    assert serves(disk)
