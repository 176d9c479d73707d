"""This case checks that INFO, GO and EXPORT_NAME report the same size and the same flags.

How: each option on its own connection. NBD_INFO_EXPORT comes exactly once, whatever information
the client asks for. Information that is unknown, or requested twice, does no harm.
Guards: handshake-length-off, size-rounded-down, size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd import Info, Option, OptionReply
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, negotiating, option_replies, option_result

ASKED = ((), (0,), (3,), (0, 1, 2, 3), (3, 3, 3), (0x7FFF, 0xFFFF))


@case(
    groups="protocol",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_GO", "MUST: NBD, NBD_OPT_EXPORT_NAME"),
)
def test(disk, not_run):
    name, seen = export_name(disk), set()
    with negotiating(disk) as client:
        client.opt_export_name(name)
        seen.add((client.size, int(client.flags)))
    for option in (Option.INFO, Option.GO):
        for asked in ASKED:
            with negotiating(disk) as client:
                data = m.info_request(name, asked)
                if option == Option.GO and option_result(client, Option.INFO, data) == "ERR_UNSUP":
                    not_run("the server has no GO")
                    return
                replies = option_replies(client, option, data)
                if replies[-1].reply == OptionReply.ERR_UNSUP:
                    not_run("the server has no INFO")
                    return
                what = f"{option.name} with the information {asked}"
                last = replies[-1]
                assert last.reply == OptionReply.ACK, f"{what}: reply {last.reply:#x}, not ACK"
                assert not last.data, f"{what}: an ACK with {len(last.data)} bytes of data"
                infos = [reply.data for reply in replies[:-1]]
                kinds = {reply.reply for reply in replies[:-1]}
                assert kinds == {OptionReply.INFO}, f"{what}: replies {sorted(kinds)}, not INFO"
                exports = [each for each in infos if each[:2] == m.U16.pack(Info.EXPORT)]
                assert len(exports) == 1, f"{what}: NBD_INFO_EXPORT comes {len(exports)} times"
                seen.add(m.INFO_EXPORT.unpack(exports[0])[1:])
    assert len(seen) == 1, f"different sizes and flags: {sorted(seen)}"
    [(size, _flags)] = seen
    expect_bytes(size, disk.size, "the export")
