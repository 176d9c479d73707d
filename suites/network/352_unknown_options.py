"""This case checks that options nobody knows are refused one by one, data and all.

How: numbers beyond those of the document, with 0 to 4096 bytes of data; each must be ERR_UNSUP
("MUST", Option types), and the handshake then goes on to a read of right data.
Guards: payload-not-drained, probe-or-abort-kills-server.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd_probe import enter, haggling, last_word


@case(groups="protocol", requires="nbd")
def test(disk):
    with haggling(disk) as client:
        for number in (12, 99, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF):
            for length in (0, 1, 4096):
                word = last_word(client, number, b"\xa5" * length)
                assert word == "ERR_UNSUP", f"option {number:#x}, {length} bytes: {word}"
        enter(client, disk)
        assert bytes(client.read(4096, 4096)) == disk.shadow.expected(4096, 4096)
