"""This case checks that INFO, GO and EXPORT_NAME tell the same size and the same flags.

How: each on its own connection; NBD_INFO_EXPORT comes exactly once, whatever is asked for, and what
is asked for twice or is not known does no harm.
Guards: handshake-length-off, size-rounded-down, size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Info, Option, OptionReply
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import answers, export_of, haggling, last_word

ASKED = ((), (0,), (3,), (0, 1, 2, 3), (3, 3, 3), (0x7FFF, 0xFFFF))


@case(groups="protocol", requires="nbd")
def test(disk, not_run):
    name, seen = export_of(disk), set()
    with haggling(disk) as client:
        client.opt_export_name(name)
        seen.add((client.size, int(client.flags)))
    for option in (Option.INFO, Option.GO):
        for asked in ASKED:
            with haggling(disk) as client:
                data = m.info_request(name, asked)
                if option == Option.GO and last_word(client, Option.INFO, data) == "ERR_UNSUP":
                    not_run("the server has no GO")
                    return
                replies = answers(client, option, data)
                if replies[-1].reply == OptionReply.ERR_UNSUP:
                    not_run("the server has no INFO")
                    return
                assert replies[-1].reply == OptionReply.ACK, f"{replies[-1].reply:#x}"
                assert not replies[-1].data, "an ACK with data"
                infos = [reply.data for reply in replies[:-1]]
                assert all(reply.reply == OptionReply.INFO for reply in replies[:-1])
                exports = [each for each in infos if each[:2] == m.U16.pack(Info.EXPORT)]
                assert len(exports) == 1, f"{len(exports)} times NBD_INFO_EXPORT"
                seen.add(m.INFO_EXPORT.unpack(exports[0])[1:])
    assert len(seen) == 1, f"the ways differ: {sorted(seen)}"
    assert seen.pop()[0] == disk.size
