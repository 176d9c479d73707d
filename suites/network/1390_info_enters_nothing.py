"""This case checks that a name that is refused stays refused after questions about another name.

How: GO and INFO of a name that is not there must get the same answer from a new connection as after
INFO of the right name. A server that serves its volume under any name may go on doing so. GO of the
right name must then still enter the export.
Guards: info-pins-export.
"""

from qbdcheck.kit import NotRun, case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, has_go, negotiating, option_result

LENGTH = 65536


@case(
    groups="protocol names quick",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_INFO", "MUST: NBD, NBD_OPT_GO"),
)
def test(disk):
    if not has_go(disk):
        raise NotRun("the server has no GO")
    right = m.info_request(export_name(disk), (3,))
    for other in (f"{export_name(disk)}x", "no such export"):
        for option in (Option.GO, Option.INFO):
            with negotiating(disk) as client:
                alone = option_result(client, option, m.info_request(other))
            with negotiating(disk) as client:
                asked = option_result(client, Option.INFO, right)
                after = option_result(client, option, m.info_request(other))
                assert (after == "ACK") == (alone == "ACK"), (
                    f"{option.name} of the export {other!r} after INFO of {export_name(disk)!r}"
                    f" ({asked}): {after}; on a new connection: {alone}"
                )
                if after != "ACK" or option is Option.INFO:
                    client.opt_go(export_name(disk))
                    disk.judge(0, client.read(0, LENGTH))
