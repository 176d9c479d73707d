"""This case checks that a malformed INFO or GO is an error, and nothing beyond it is read.

How: no data, lengths that lie, counts that lie, bytes too many; an error each time or the end of
the connection, never success, and the server goes on serving.
Guards: handshake-length-off, long-name-smash, huge-option-read.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option, OptionReply
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import answers, export_of, haggling, serves


def malformed(name):
    """Give data of INFO that is wrong, each in its own way."""
    raw = name.encode()
    right = m.info_request(name, (3,))
    yield b""
    yield right[:3]
    yield right[:-1]
    yield right + b"\0"
    yield m.U32.pack(len(raw) + 1) + raw + m.U16.pack(0)[:1]
    yield m.U32.pack(0xFFFFFFFF) + raw + m.U16.pack(0)
    yield m.U32.pack(0x80000000) + raw + m.U16.pack(0)
    yield m.string(name)
    yield m.string(name) + m.U16.pack(2) + m.U16.pack(3)
    yield m.string(name) + m.U16.pack(0xFFFF) + m.U16.pack(3)
    yield m.string(name) + m.U16.pack(0) + m.U16.pack(3)


@case(groups="protocol", requires="nbd")
def test(disk):
    for option in (Option.INFO, Option.GO):
        for data in malformed(export_of(disk)):
            with haggling(disk) as client:
                try:
                    end = answers(client, option, data)[-1]
                except ConnectionError:
                    continue
                assert end.reply != OptionReply.ACK, f"accepted: {data.hex()}"
                again = answers(client, Option.INFO, m.info_request(export_of(disk)))[-1]
                assert again.reply in (OptionReply.ACK, OptionReply.ERR_UNSUP), f"{again.reply:#x}"
    assert serves(disk)
