"""This case checks that LIST names the export in well-formed replies, and accepts no data.

How: the names in the replies to LIST; a single export may be listed by the empty name. LIST with
data should be ERR_INVALID, or ends the connection. A server may refuse to list, or list nothing
("zero or more" replies).
Guards: list-length-short, list-ack-missing.
Related: handshake-length-off, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import recommended
from qbdcheck.kit.nbd import Option, OptionReply
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_io import NbdIo
from qbdcheck.kit.nbd_probe import (
    enter_transmission,
    export_name,
    negotiating,
    option_replies,
    option_result,
)


@case(
    groups="protocol quick",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_LIST", "SHOULD: NBD, NBD_OPT_LIST"),
)
def test(disk, not_run):
    with negotiating(disk) as client:
        *listed, end = option_replies(client, Option.LIST)
        if end.reply in (OptionReply.ERR_POLICY, OptionReply.ERR_UNSUP):
            not_run("the server does not list its exports")
        else:
            assert end.reply == OptionReply.ACK, f"LIST ends with reply {end.reply:#x}, not ACK"
            if listed:
                must_name(listed, export_name(disk))
            else:
                not_run("the server lists no exports")
            result = option_result(client, Option.LIST, b"data", may_close=True)
            with recommended("NBD, NBD_OPT_LIST"):
                assert result in {"ERR_INVALID", "CLOSED"}, (
                    f"LIST with data: {result}, not ERR_INVALID"
                )
            if result == "CLOSED":
                return
        enter_transmission(client, disk)
        NbdIo(client, disk.shadow, sizes=disk.backend.sizes).read(0, 4096)


def must_name(listed, name):
    """Check that the replies to LIST are well-formed, and that one names the export."""
    kinds = {reply.reply for reply in listed}
    assert kinds == {OptionReply.SERVER}, f"LIST: replies {sorted(kinds)}, not SERVER"
    names = [m.take_string(reply.data, 0)[0] for reply in listed]
    assert {name, ""} & set(names), f"LIST gives {names}, the export is {name!r}"
