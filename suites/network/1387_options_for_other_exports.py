"""This case checks that options for other exports do not change what a client enters.

How: two volumes of different sizes and contents on one server. A client asks about one, about both
in turns, or about a name that does not exist (INFO, LIST_META_CONTEXT, SET_META_CONTEXT, LIST),
and then enters the other one. It must have the size and the contents of that one, and take a write.
Guards: info-pins-export.
Related: wrong-volume-or-lun.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import Option, ReplyMode
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, has_go, negotiating, option_result

ORDERS = ("o", "oo", "eo", "oeo", "on", "no", "oe")
"""Whom a client asks about: the other export, the one that it enters, or one that is not there."""
LENGTH = 65536


@case(
    groups="protocol names quick",
    requires="nbd add_volume",
    basis=("MUST: NBD, NBD_OPT_INFO", "MUST: NBD, NBD_OPT_GO"),
)
def test(new_disk, nbd_io):
    one = new_disk("1M")
    two = new_disk("2M", beside=one)
    if not has_go(one):
        raise NotRun("the server has no GO")
    for other, entered in ((one, two), (two, one)):
        names = {"o": export_name(other), "e": export_name(entered), "n": "no such export"}
        for order in ORDERS:
            with negotiating(entered) as client:
                if option_result(client, Option.STRUCTURED_REPLY) == "ACK":
                    client.mode = ReplyMode.STRUCTURED
                for letter in order:
                    ask(client, names[letter])
                client.opt_go(names["e"])
                what = f"GO for {entered.name} after options for {order}"
                assert client.size == entered.size, f"{what}: the size is {client.size} bytes"
                entered.judge(0, client.read(0, LENGTH))
        with nbd_io(entered) as io:
            io.write(LENGTH, LENGTH)
    for disk in (one, two):
        disk.verify()


def ask(client, name):
    """Ask about an export in each way; a server may refuse each."""
    option_result(client, Option.INFO, m.info_request(name))
    for option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
        option_result(client, option, m.meta_context_request(name, ["base:allocation"]))
    option_result(client, Option.LIST)
