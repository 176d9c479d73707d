"""This case checks that a server answers options whose names are as long as the document allows.

How: INFO, GO, LIST_META_CONTEXT and SET_META_CONTEXT with export names and queries of 255 to 4096
bytes. The server may know the name or not. It must answer by a reply, because the option breaks no
rule, and the same connection must then enter the export.
Guards: long-name-smash.
Related: handshake-length-off.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import (
    enter_transmission,
    export_name,
    has_go,
    negotiating,
    option_result,
)

BASE = "base:allocation"
LENGTHS = (255, 256, 1024, 4089, 4090, 4091, 4095, 4096)


def options(name):
    """Yield options that are right in form: long names, long queries, many queries."""
    for length in LENGTHS:
        long = "x" * length
        yield Option.INFO, m.info_request(long)
        yield Option.INFO, m.info_request(long, (1, 2, 3))
        yield Option.LIST_META_CONTEXT, m.meta_context_request(long, [BASE])
        yield Option.SET_META_CONTEXT, m.meta_context_request(name, [f"x-none:{long[7:]}", BASE])
        # No longer in sum than one string may be: a server may limit the data of an option.
        short = f"x-none:{long[: length // 8 - 7]}"
        yield Option.LIST_META_CONTEXT, m.meta_context_request(name, [short] * 8)


@case(
    groups="protocol names quick",
    requires="nbd",
    basis=("MUST: NBD, Conventions", "MUST: NBD, Fixed newstyle negotiation"),
)
def test(disk, not_run):
    name = export_name(disk)
    if not has_go(disk):
        not_run("the server has no GO")
    with negotiating(disk) as client:
        option_result(client, Option.STRUCTURED_REPLY)
    for option, data in options(name):
        with negotiating(disk) as client:
            option_result(client, Option.STRUCTURED_REPLY)
            result = option_result(client, option, data, may_close=True)
            assert result != "CLOSED", (
                f"{option.name} with {len(data)} bytes of data, names of at most 4096 bytes: the"
                " server ended the connection, expected a reply"
            )
            enter_transmission(client, disk)
    for length in LENGTHS:
        with negotiating(disk) as client:
            result = option_result(client, Option.GO, m.info_request("x" * length), may_close=True)
            assert result != "CLOSED", (
                f"GO with a name of {length} bytes: the server hung up, expected a reply"
            )
            if result != "ACK":
                enter_transmission(client, disk)
