"""This case checks that metadata contexts are chosen by exact name, and that the last SET counts.

How: LIST with and without queries; SET with unknown names and wildcards, SET twice, malformed and
too many queries. Block status works afterwards only if base:allocation was chosen last.
Related: unadvertised-command-executed, huge-option-read.
"""

import contextlib

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, Option, OptionRefused
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import (
    enter_transmission,
    errno_of,
    export_name,
    negotiating,
    option_result,
)

BASE = "base:allocation"
UNKNOWN = ("base:", "base:allocatio", "base:allocation2", "BASE:ALLOCATION", "x-none:such")
LAST_SETS = (((BASE,), True), ((BASE, "x-none:such"), True), (("x-none:such",), False), ((), False))


@case(
    groups="protocol status quick",
    requires="nbd structured block_status",
    basis="MUST: NBD, NBD_OPT_SET_META_CONTEXT",
)
def test(disk, target):
    length = 4096 * target.scale
    name = export_name(disk)
    with negotiating(disk) as client:
        client.opt_structured_reply()
        for queries in ((), ("base:",), (BASE,)):
            names = client.opt_list_meta_context(name, queries)
            # Without a query, a server may answer with the wildcard that lists the namespace.
            assert BASE in names or ("base:" in names and not queries), (
                f"LIST_META_CONTEXT {queries} lacks {BASE}"
            )
        for query in UNKNOWN:
            chosen = client.opt_set_meta_context(name, [query])
            assert BASE not in chosen.values(), f"SET {query!r} chose {chosen}"
    chosen = _without_colon(disk, name)
    assert BASE not in chosen.values(), f"SET '' chose {chosen}"
    right = m.meta_context_request(name, [BASE])
    for wrong in (right[:-1], right[:4], b"", m.string(name) + m.U32.pack(0xFFFFFFFF)):
        with negotiating(disk) as client:
            client.opt_structured_reply()
            for option in (Option.LIST_META_CONTEXT, Option.SET_META_CONTEXT):
                result = option_result(client, option, wrong, may_close=True)
                assert result != "ACK", f"{option.name} accepts malformed data {wrong.hex()}"
                if result == "CLOSED":
                    break
    for queries, has_status in LAST_SETS:
        with negotiating(disk) as client:
            client.opt_structured_reply()
            client.opt_set_meta_context(name, [BASE])
            client.opt_set_meta_context(name, queries)
            enter_transmission(client, disk)
            error = errno_of(client, Command.BLOCK_STATUS, 0, length)
            assert (error == 0) is has_status, (
                f"BLOCK_STATUS of {length} bytes at 0 after SET {queries}: errno {error}"
            )
    with negotiating(disk) as client:
        result = option_result(client, Option.SET_META_CONTEXT, right, may_close=True)
        assert result != "ACK", "SET_META_CONTEXT succeeds without structured replies"


def _without_colon(disk, name):
    """Return what a query without a colon chooses; the server may refuse it, or hang up."""
    with negotiating(disk) as client, contextlib.suppress(OptionRefused, ConnectionError):
        client.opt_structured_reply()
        return client.opt_set_meta_context(name, [""])
    return {}
