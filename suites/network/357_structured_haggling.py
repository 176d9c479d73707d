"""This case checks that structured replies come when agreed on, and never otherwise.

How: STRUCTURED_REPLY with data must be ERR_INVALID; without it a read has a simple reply, with it a
structured one; block status without a context must fail.
Guards: payload-not-drained, unadvertised-command-executed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, Command, Option, ReplyMode
from qbdcheck.kit.nbd import client_replies as wire
from qbdcheck.kit.nbd_probe import enter, haggling, last_word, outcome


@case(groups="protocol", requires="nbd structured")
def test(disk):
    for agreed, magic in ((False, SIMPLE_REPLY_MAGIC), (True, STRUCTURED_REPLY_MAGIC)):
        with haggling(disk) as client:
            assert last_word(client, Option.STRUCTURED_REPLY, b"?") == "ERR_INVALID"
            if agreed:
                client.opt_structured_reply()
            enter(client, disk)
            client.send(wire.request(ReplyMode.SIMPLE, 0, Command.READ, 7, 0, 512))
            assert client.receive(4) == magic.to_bytes(4, "big")
        with haggling(disk) as client:
            if agreed:
                client.opt_structured_reply()
            enter(client, disk)
            assert outcome(client, Command.BLOCK_STATUS, 0, 4096) != 0, "status without a context"
