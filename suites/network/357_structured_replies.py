"""This case checks that structured replies come only if the client has requested them.

How: STRUCTURED_REPLY with data must be ERR_INVALID. Without structured replies a read gets a simple
reply, with them a structured one. Block status without a metadata context must fail.
Related: payload-not-drained, unadvertised-command-executed.
"""

from qbdcheck.kit import case
from qbdcheck.kit.expectations import recommended
from qbdcheck.kit.nbd import SIMPLE_REPLY_MAGIC, STRUCTURED_REPLY_MAGIC, Command, Option, ReplyMode
from qbdcheck.kit.nbd import client_replies as wire
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_probe import enter_transmission, errno_of, negotiating, option_result


@case(
    groups="protocol",
    requires="nbd structured",
    basis=(
        "MUST: NBD, NBD_OPT_STRUCTURED_REPLY",
        "MUST: NBD, Structured reply chunk message",
        "SHOULD: NBD, NBD_OPT_STRUCTURED_REPLY",
    ),
)
def test(disk):
    length = max(4096, minimum_block(disk))
    for agreed, magic in ((False, SIMPLE_REPLY_MAGIC), (True, STRUCTURED_REPLY_MAGIC)):
        with negotiating(disk) as client:
            result = option_result(client, Option.STRUCTURED_REPLY, b"?", may_close=True)
            with recommended("NBD, NBD_OPT_STRUCTURED_REPLY"):
                assert result in {"ERR_INVALID", "CLOSED"}, f"STRUCTURED_REPLY with data: {result}"
        with negotiating(disk) as client:
            if result != "CLOSED":  # the option that was refused changes nothing
                option_result(client, Option.STRUCTURED_REPLY, b"?")
            if agreed:
                client.opt_structured_reply()
            enter_transmission(client, disk)
            client.send(wire.request(ReplyMode.SIMPLE, 0, Command.READ, 7, 0, length))
            seen = int.from_bytes(client.receive(4), "big")
            assert seen == magic, (
                f"structured replies agreed: {agreed}; a reply to READ begins with {seen:#x},"
                f" expected {magic:#x}"
            )
        with negotiating(disk) as client:
            if agreed:
                client.opt_structured_reply()
            enter_transmission(client, disk)
            error = errno_of(client, Command.BLOCK_STATUS, 0, length)
            assert error, f"BLOCK_STATUS of {length} bytes at 0 succeeds without a metadata context"
