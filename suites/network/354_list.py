"""This case checks that LIST names the export, in replies of the right lengths, and takes no data.

How: the names of LIST (an only export may be called by the empty one); LIST with data must be
ERR_INVALID ("MUST"); a server may refuse to list at all.
Guards: handshake-length-off, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option, OptionReply
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import answers, enter, export_of, haggling, last_word


@case(groups="protocol", requires="nbd")
def test(disk, not_run):
    with haggling(disk) as client:
        *listed, end = answers(client, Option.LIST)
        if end.reply in (OptionReply.ERR_POLICY, OptionReply.ERR_UNSUP):
            not_run("the server does not list")
        else:
            assert end.reply == OptionReply.ACK, f"{end.reply:#x}"
            assert all(reply.reply == OptionReply.SERVER for reply in listed)
            names = [m.take_string(reply.data, 0)[0] for reply in listed]
            assert {export_of(disk), ""} & set(names), f"not in {names}"
            assert last_word(client, Option.LIST, b"data") == "ERR_INVALID"
        enter(client, disk)
        assert bytes(client.read(0, 512)) == disk.shadow.expected(0, 512)
