"""This case checks that INFO, GO and EXPORT_NAME report the same size and the same flags.

How: each option on its own connection. NBD_INFO_EXPORT comes exactly once, whatever information
the client asks for. Information that is unknown, or requested twice, does no harm.
Guards: handshake-length-off.
Related: size-rounded-down, size-rounded-up.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import expect_bytes
from qbdcheck.kit.nbd import Info, Option, OptionReply
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import (
    enforces_sizes,
    export_name,
    negotiating,
    oldest_refused,
    option_replies,
    option_result,
)

ASKED = ((), (0,), (3,), (0, 1, 2, 3), (0x7FFF, 0xFFFF), (0x7FFF, 3, 0xFFFF))


@case(
    groups="protocol",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_GO", "MUST: NBD, NBD_OPT_EXPORT_NAME"),
)
def test(disk, not_run):
    name, seen = export_name(disk), set()
    if reason := oldest_refused(disk):
        not_run(reason)
    else:
        with negotiating(disk) as client:
            client.opt_export_name(name)
            seen.add((client.size, int(client.flags)))
    with negotiating(disk) as client:
        may_require_sizes = enforces_sizes(client, disk)
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
                is_required = last.reply == OptionReply.ERR_BLOCK_SIZE_REQD
                if is_required and may_require_sizes and Info.BLOCK_SIZE not in asked:
                    continue
                assert last.reply == OptionReply.ACK, f"{what}: reply {last.reply:#x}, not ACK"
                assert not last.data, f"{what}: an ACK with {len(last.data)} bytes of data"
                infos = [reply.data for reply in replies[:-1]]
                kinds = {reply.reply for reply in replies[:-1]}
                assert kinds == {OptionReply.INFO}, f"{what}: replies {sorted(kinds)}, not INFO"
                exports = [each for each in infos if each[:2] == m.U16.pack(Info.EXPORT)]
                assert len(exports) == 1, f"{what}: NBD_INFO_EXPORT comes {len(exports)} times"
                seen.add(m.INFO_EXPORT.unpack(exports[0])[1:])
    with negotiating(disk) as client:  # a client MUST NOT ask twice: the server may refuse that
        option_result(client, Option.INFO, m.info_request(name, (3, 3, 3)), may_close=True)
    assert len(seen) == 1, f"different sizes and flags: {sorted(seen)}"
    [(size, _flags)] = seen
    expect_bytes(size, disk.size, "the export")
