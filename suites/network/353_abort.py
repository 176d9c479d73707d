"""This case checks that a client may leave at any point of the handshake without harm to others.

How: ABORT alone, with data, and after other options; the end of the connection after the flags and
within an option. A client in transmission reads meanwhile, and a new client is served at the end.
Guards: probe-or-abort-kills-server.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import (
    connected,
    export_name,
    is_closed,
    is_serving,
    needs_options,
    negotiating,
)

LEAVE = (
    m.option(Option.ABORT),
    m.option(Option.ABORT, b"data"),
    m.option(Option.LIST) + m.option(Option.ABORT),
    m.option(Option.STRUCTURED_REPLY) + m.option(Option.ABORT),
)


@case(
    groups="protocol",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_ABORT", "POLICY: clients-do-not-disturb-each-other"),
)
def test(disk):
    with negotiating(disk) as client:
        needs_options(client)
    with connected(disk) as other:
        for options in LEAVE:
            with negotiating(disk) as client:
                client.send(options)
                assert is_closed(client), f"the connection stays open after ABORT: {options!r}"
            other.read(0, 4096)
        whole = m.option(Option.GO, m.info_request(export_name(disk)))
        for length in range(0, len(whole), 3):
            with negotiating(disk) as client:
                client.send(whole[:length])
            other.read(0, 4096)
    assert is_serving(disk), "a new client is not served after clients that left"
