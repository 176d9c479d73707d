"""This case checks that a client may leave at any point of the handshake, and nobody else notices.

How: ABORT alone, with data, after other options; EOF after the flags and within an option; a client
in transmission reads on meanwhile, and a fresh one is served at the end.
Guards: probe-or-abort-kills-server.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import enter, export_of, haggling, is_closed, serves

LEAVE = (
    m.option(Option.ABORT),
    m.option(Option.ABORT, b"so long"),
    m.option(Option.LIST) + m.option(Option.ABORT),
    m.option(Option.STRUCTURED_REPLY) + m.option(Option.ABORT),
)


@case(groups="protocol", requires="nbd")
def test(disk):
    expected = disk.shadow.expected(0, 512)
    with haggling(disk) as bystander:
        enter(bystander, disk)
        for words in LEAVE:
            with haggling(disk) as client:
                client.send(words)
                assert is_closed(client), f"still open after ABORT: {words!r}"
            assert bytes(bystander.read(0, 512)) == expected
        whole = m.option(Option.GO, m.info_request(export_of(disk)))
        for length in range(0, len(whole), 3):
            with haggling(disk) as client:
                client.send(whole[:length])
            assert bytes(bystander.read(0, 512)) == expected
    assert serves(disk)
