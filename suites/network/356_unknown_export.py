"""This case checks that a server never serves a missing export, nor another export in its place.

How: names similar to the right one. INFO and GO must give ERR_UNKNOWN, and the handshake continues.
EXPORT_NAME has no error reply, so the connection must end.
Guards: wrong-volume-or-lun, acl-prefix-match.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, is_closed, negotiating, option_result


@case(
    groups="protocol",
    requires="nbd",
    basis=("MUST: NBD, NBD_OPT_GO", "MUST: NBD, NBD_OPT_EXPORT_NAME"),
)
def test(disk):
    name = export_name(disk)
    similar = (
        name + "x",
        name[:-1],
        name.upper(),
        " " + name,
        name + "/",
        name + "\u0301",
        "x" * 4096,
    )
    wrong = [other for other in similar if other not in {"", name}]  # "" is the default export
    with negotiating(disk) as client:
        for other in wrong:
            for option in (Option.INFO, Option.GO):
                result = option_result(client, option, m.info_request(other))
                assert result in ("ERR_UNKNOWN", "ERR_UNSUP", "ERR_POLICY"), (
                    f"{option.name} of {other[:20]!r}: {result}; the export is {name!r}"
                )
    for other in wrong:
        with negotiating(disk) as client:
            client.send_option(Option.EXPORT_NAME, other.encode())
            assert is_closed(client), f"EXPORT_NAME of {other[:20]!r} does not end the connection"
