"""This case checks that DISC closes the connection, and loses no write that was answered.

How: writes and DISC in one stream of bytes. The connection ends in time. A write that was answered
with success is on the disk; another one may be.
Guards: close-drops-dirty, inflight-hang-on-disconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command, ReplyMode
from qbdcheck.kit.nbd import client_replies as wire
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import connected

WRITES = 16


def request(command, cookie, offset=0, data=b""):
    """Return the bytes of a request with simple headers."""
    return wire.request(ReplyMode.SIMPLE, 0, command, cookie, offset, len(data)) + data


def until_closed(client):
    """Receive until the server closes; return the errno of each reply by cookie."""
    seen = b""
    while piece := client.sock.recv(65536):
        seen += piece
    replies = [m.SIMPLE_REPLY.unpack(seen[at : at + 16]) for at in range(0, len(seen), 16)]
    return {cookie: error for _magic, error, cookie in replies}


@case(
    groups="protocol concurrent quick",
    requires="nbd",
    basis=("MUST: NBD, NBD_CMD_DISC", "POLICY: answered-writes-outlive-their-connection"),
)
def test(disk, policy, target):
    length = max(4096, target.minimum_block)
    for number in range(4):
        with connected(disk) as io:
            client = io.client
            stream, written = b"", {}
            for index in range(WRITES):
                at = (number * WRITES + index) * 65536
                written[index] = at, bytes(disk.shadow.stamped(at, length))
                stream += request(Command.WRITE, index, *written[index])
            client.send(stream + request(Command.DISC, 99))
            errors = until_closed(client)
            assert errors.keys() <= written.keys(), f"replies to unknown cookies: {sorted(errors)}"
            for index, (at, data) in written.items():
                if errors.get(index) == 0:
                    disk.shadow.write(at, data)
                else:
                    disk.shadow.maybe_write(at, data)
    with policy("answered-writes-outlive-their-connection"):
        disk.verify()
