"""This case checks that the server's replies do not depend on how a client's bytes are segmented.

How: options, EXPORT_NAME and a read are sent byte by byte, in pieces of 7 bytes, and at once. The
replies must be identical. Then requests whose header or payload arrives in two pieces, with a pause
between them in which the server takes the first one, in all header modes.
Guards: handshake-length-off, split-header-lost.
Related: payload-not-drained.
"""

from qbdcheck.kit import case, pause
from qbdcheck.kit.nbd import REQUEST_MAGIC, Command, HandshakeFlag, Option
from qbdcheck.kit.nbd import messages as m
from qbdcheck.kit.nbd_probe import export_name, needs_options, negotiating, oldest_refused

STEPS = (4096, 7, 1)
CUTS, PAUSE_S = (1, 4, 16, 27, 28, 33, 600), 0.03
MODES = ((False, False), (True, False), (True, True))


@case(groups="protocol quick", requires="nbd", basis="MUST: NBD, Transmission")
def test(disk, target, nbd_io, not_run):
    length = max(8192, target.minimum_block)
    if reason := oldest_refused(disk):
        not_run(f"EXPORT_NAME in pieces: {reason}")
    else:
        answers = [replies(disk, step, length) for step in STEPS]
        for step, answer in zip(STEPS, answers, strict=True):
            assert answer == answers[0], f"sent {step} bytes at a time: other replies than at once"
    for structured, extended in MODES:
        with nbd_io(disk, structured=structured, extended=extended) as io:
            for number, cut in enumerate(CUTS):
                io.client.sock = TwoPieces(io.client.sock, cut)
                io.write(number * length, length)
                io.client.sock = TwoPieces(io.client.sock.real, cut)
                io.read(number * length, length)
                io.client.sock = io.client.sock.real


class TwoPieces:
    """A socket that sends the first bytes alone, and waits until the server has taken them."""

    def __init__(self, real, cut):
        self.real = real
        self._cut = cut

    def __getattr__(self, name):
        return getattr(self.real, name)

    def sendall(self, data):
        """Send the first bytes, then the rest."""
        data = bytes(data)
        self.real.sendall(data[: self._cut])
        if self._cut < len(data):
            pause(PAUSE_S)
            self.real.sendall(data[self._cut :])


def replies(disk, step, length):
    """Return the replies to an unknown option, EXPORT_NAME and a READ, sent in pieces."""
    name = m.option(Option.EXPORT_NAME, export_name(disk).encode())
    read = m.REQUEST.pack(REQUEST_MAGIC, 0, Command.READ, 1, 0, length)
    with negotiating(disk) as client:
        needs_options(client)
        send(client, m.option(99, b"unknown"), step)
        answers = [client.receive_option_reply()]
        no_zeroes = client.handshake_flags & HandshakeFlag.NO_ZEROES
        head = m.EXPORT.size + (0 if no_zeroes else 124)
        answers += answer(client, name, step, head), answer(client, read, step, 16 + length)
        assert answers[-1].endswith(disk.shadow.expected(0, length)), f"{step} bytes at a time"
        return answers


def answer(client, message, step, length):
    """Send a message in pieces; return its reply of so many bytes."""
    send(client, message, step)
    try:
        return client.receive(length)
    except ConnectionError as error:
        raise AssertionError(
            f"option 99, EXPORT_NAME and a READ, sent {step} bytes at a time: {error}"
        ) from None


def send(client, message, step):
    """Send a message in pieces."""
    for start in range(0, len(message), step):
        client.send(message[start : start + step])
