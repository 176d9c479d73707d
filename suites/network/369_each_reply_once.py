"""This case checks that each of many requests in flight gets one reply, with its own data.

How: 300 reads and writes of many lengths in one stream, 32 in flight, on sectors of their own;
replies may come in any order; then silence.
Guards: shared-cursor-race, payload-not-drained.
"""

import pytest

from qbdcheck.kit import case
from qbdcheck.kit.nbd import Command
from qbdcheck.kit.nbd_probe import enter, haggling

DEPTH = 32
"""Requests in flight: more than any server's window, and less than a socket holds."""


@case(groups="protocol concurrent", requires="nbd")
def test(disk, seed):
    choose = seed.stream("requests")
    with haggling(disk) as client:
        enter(client, disk)
        sent = {}
        for index in range(300):
            offset, length = index * 16384, choose.choice((1, 8, 24)) * 512
            kind = choose.choice(("read", "write", "write"))
            if kind == "read":
                cookie = client.send_request(Command.READ, offset, length)
                sent[cookie] = disk.shadow.expected(offset, length)
            else:
                data = bytes(disk.shadow.stamped(offset, length))
                cookie = client.send_request(Command.WRITE, offset, length, payload=data)
                disk.shadow.write(offset, data)
                sent[cookie] = b""
            while len(sent) > DEPTH:
                take(client, sent)
        while sent:
            take(client, sent)
        client.sock.settimeout(0.02)
        with pytest.raises(TimeoutError):
            client.sock.recv(1)
    disk.verify()


def take(client, sent):
    """Take one reply, which must be to one of those in flight."""
    reply = client.receive_reply()
    assert not reply.error
    assert bytes(reply.data) == sent.pop(reply.cookie)
