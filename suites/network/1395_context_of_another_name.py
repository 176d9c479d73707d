"""This case checks that a metadata context chosen under another name is not valid for an export.

How: SET_META_CONTEXT with names that are not the export's, alone or after one with the right name,
then GO with the right name. Whether the server refuses the names, or serves one volume under each
name: the last SET was not for the name of GO, so BLOCK_STATUS must fail, and the connection must
live. After a last SET with the right name it must succeed.
Related: context-kept-for-other-export.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import errno_name
from qbdcheck.kit.nbd import Command, Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import (
    CLOSED,
    enter_transmission,
    errno_of,
    export_name,
    negotiating,
    option_result,
)

BASE, LENGTH = "base:allocation", 65536
ORDERS = ("o", "ro", "or", "oro", "oor")
"""Names of the SETs of one connection: r the right one, o another one."""


@case(
    groups="protocol status names quick",
    requires="nbd structured block_status",
    basis=("MUST: NBD, NBD_OPT_SET_META_CONTEXT", "SHOULD: NBD, NBD_CMD_BLOCK_STATUS"),
)
def test(disk):
    right = export_name(disk)
    for other in (f"{right}x", "no such export"):
        for order in ORDERS:
            with negotiating(disk) as client:
                client.opt_structured_reply()
                for letter in order:
                    name = right if letter == "r" else other
                    request = m.meta_context_request(name, [BASE])
                    option_result(client, Option.SET_META_CONTEXT, request)
                enter_transmission(client, disk)
                error = errno_of(client, Command.BLOCK_STATUS, 0, LENGTH)
                names = ", ".join(repr(right if letter == "r" else other) for letter in order)
                what = f"BLOCK_STATUS on export {right!r} after SET_META_CONTEXT for {names}"
                if order.endswith("r"):
                    assert not error, f"{what}: expected success, got {errno_name(error)}"
                else:
                    assert error, f"{what} succeeds, expected an error"
                if error != CLOSED:  # a client must not send it without a context
                    disk.judge(0, client.read(0, LENGTH))
