"""This case checks that a malformed INFO or GO fails, and the server reads nothing beyond it.

How: no data, wrong lengths, wrong counts, too many bytes. Each gets an error or the end of the
connection, never success. The server continues to serve.
Related: handshake-length-off, long-name-smash, huge-option-read.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option, OptionReply
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, is_serving, negotiating, option_replies


def malformed(name):
    """Yield malformed data for INFO, each with one fault."""
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


@case(
    groups="protocol",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_GO", "MUST: NBD, Option reply types"),
)
def test(disk):
    for option in (Option.INFO, Option.GO):
        for data in malformed(export_name(disk)):
            what = f"{option.name} with malformed data {data.hex()}"
            with negotiating(disk) as client:
                try:
                    end = option_replies(client, option, data)[-1]
                except ConnectionError:
                    continue
                assert end.reply != OptionReply.ACK, f"{what}: accepted"
                valid = m.info_request(export_name(disk), (3,))
                again = option_replies(client, Option.INFO, valid)[-1]
                assert again.reply in (OptionReply.ACK, OptionReply.ERR_UNSUP), (
                    f"{what}, then a valid INFO: reply {again.reply:#x}"
                )
    assert is_serving(disk), "a new client is not served after malformed options"
