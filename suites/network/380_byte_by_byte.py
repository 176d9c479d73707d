"""This case checks that the server's replies do not depend on how a client's bytes are segmented.

How: options, EXPORT_NAME and a read are sent byte by byte, in pieces of 7 bytes, and at once. The
replies must be identical.
Guards: handshake-length-off, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command, Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, needs_options, negotiating

STEPS = (4096, 7, 1)


def received(client):
    """Return the next bytes of the server; none if it closed the connection."""
    try:
        return client.sock.recv(65536)
    except ConnectionError:
        return b""


@case(groups="protocol quick", requires="nbd", basis="MUST: NBD, Transmission")
def test(disk, target):
    stream = m.option(99, b"unknown")
    stream += m.option(Option.EXPORT_NAME, export_name(disk).encode())
    length = max(8192, target.minimum_block)
    stream += m.REQUEST.pack(REQUEST_MAGIC, 0, Command.READ, 1, 0, length)
    expected = disk.shadow.expected(0, length)
    answers = []
    for step in STEPS:
        with negotiating(disk) as client:
            needs_options(client)
            for start in range(0, len(stream), step):
                client.send(stream[start : start + step])
            seen = b""
            while not seen.endswith(expected):
                piece = received(client)
                assert piece, (
                    f"option 99, EXPORT_NAME and a READ, sent {step} bytes at a time: the server"
                    f" closed the connection after {len(seen)} bytes of its replies"
                )
                seen += piece
            answers.append(seen)
    for step, answer in zip(STEPS, answers, strict=True):
        assert answer == answers[0], f"sent {step} bytes at a time: other replies than at once"
