"""This case checks that a client that reads no replies holds up no other client.

How: clients ask for many reads of the whole volume and read none of the replies, until the server
cannot send more. Meanwhile other clients read, write, zero and flush the same places, and get their
replies in time. At the end the first clients read all their replies, unless the server has ended
their connections.
Guards: reply-sent-under-lock.
"""

import contextlib

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import Command, TransmissionFlag
from qbdcheck.kit.nbd_probe import connected
from qbdcheck.kit.nbd_requests import block_sizes
from qbdcheck.kit.request_errors import RequestHangs

MIB, DEAF, READS, ROUNDS = 1 << 20, 2, 24, 2
SETTLES_S = 0.2


@case(
    groups="protocol concurrent quick",
    requires="nbd",
    basis="POLICY: clients-do-not-disturb-each-other",
)
def test(new_disk, nbd):
    disk = new_disk(4 * MIB)
    for round_ in range(ROUNDS):
        with contextlib.ExitStack() as stack:
            deaf = [stack.enter_context(nbd(disk)) for _ in range(DEAF)]
            length = min(MIB, block_sizes(deaf[0]).maximum)
            asked = [
                [
                    client.send_request(Command.READ, number % 4 * MIB, length)
                    for number in range(READS)
                ]
                for client in deaf
            ]
            pause(SETTLES_S)
            try:
                with connected(disk) as io:
                    work(io, round_)
            except RequestHangs as error:
                raise RequestHangs(f"while another client reads no replies: {error}") from None
            for client, cookies in zip(deaf, asked, strict=True):
                # A server may end such a connection.
                with contextlib.suppress(ConnectionError, EOFError):
                    expect_replies(client, cookies)
    disk.verify()


def expect_replies(client, cookies):
    for cookie in cookies:
        reply = client.receive_reply(cookie)
        assert not reply.error, f"a read whose reply had to wait failed: {reply.message}"


def work(io, round_):
    """Change and read each MiB at other places than in other rounds."""
    for number in range(4):
        at = number * MIB + round_ * 65_536
        io.write(at, 65_536)
        io.read(at, 65_536)
        if io.offers(TransmissionFlag.SEND_WRITE_ZEROES):
            io.write_zeroes(at + 512 * 1024, 65_536)
    io.flush()
