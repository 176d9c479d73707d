"""This case checks that it does not matter how the bytes of a client are cut into packets.

How: options, EXPORT_NAME and a read, sent byte by byte, in pieces of 7, and all at once; the
answers must be the same to the byte.
Guards: handshake-length-off, payload-not-drained.
"""

from qbdcheck.kit import case
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command, Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_of, haggling


@case(groups="protocol quick", requires="nbd")
def test(disk):
    stream = m.option(99, b"unknown")
    stream += m.option(Option.EXPORT_NAME, export_of(disk).encode())
    stream += m.REQUEST.pack(REQUEST_MAGIC, 0, Command.READ, 1, 0, 8192)
    expected = disk.shadow.expected(0, 8192)
    answers = []
    for step in (len(stream), 7, 1):
        with haggling(disk) as client:
            for start in range(0, len(stream), step):
                client.send(stream[start : start + step])
            seen = b""
            while not seen.endswith(expected):
                piece = client.sock.recv(65536)
                assert piece, "closed before the data came"
                seen += piece
            answers.append(seen)
    assert answers[0] == answers[1] == answers[2], "how bytes are cut changes the answers"
