"""This case checks that an export that does not exist is never served, and never as another one.

How: names near the right one, through INFO and GO (ERR_UNKNOWN, and haggling goes on) and through
EXPORT_NAME (the connection ends: it has no error reply).
Guards: wrong-volume-or-lun, acl-prefix-match.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_of, haggling, is_closed, last_word


@case(groups="protocol", requires="nbd")
def test(disk):
    name = export_of(disk)
    wrong = (
        name + "x",
        name[:-1],
        name.upper(),
        " " + name,
        name + "/",
        name + "\u0301",
        "x" * 4096,
    )
    with haggling(disk) as client:
        for other in wrong:
            for option in (Option.INFO, Option.GO):
                word = last_word(client, option, m.info_request(other))
                assert word in ("ERR_UNKNOWN", "ERR_UNSUP", "ERR_POLICY"), f"{other!r}: {word}"
    for other in wrong:
        with haggling(disk) as client:
            client.send_option(Option.EXPORT_NAME, other.encode())
            assert is_closed(client), f"EXPORT_NAME of {other[:20]!r} does not end the connection"
            assert not client.in_transmission
