"""What cases of the network suite ask of an NBD server, byte by byte, by the raw client.

The raw client (`reference_backend.client.Client`) breaks any rule that it is told to break; here is
what reads a server's answer without judging more than the NBD document does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from qbdcheck.targets.disk import Disk
from reference_backend.client import Client, parse_uri
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.client_options import OptionReplyMessage
from reference_backend.nbd.constants import Option, OptionReply
from reference_backend.nbd.errors import NbdError, NbdProtocolError

PATIENCE_S = 5.0
"""Seconds that any one answer of a server may take."""
CLOSED = -1
"""Outcome of a request after which the server closed the connection."""
ALL_FLAGS = int(c.ClientFlag.FIXED_NEWSTYLE | c.ClientFlag.NO_ZEROES)


def export_of(disk: Disk) -> str:
    """Return the name of a disk's export."""
    return parse_uri(disk.uri)[1]


@contextlib.contextmanager
def haggling(disk: Disk, client_flags: int | None = ALL_FLAGS) -> Iterator[Client]:
    """Connect to a disk's server and stop after the client's flags; close at the end."""
    client = Client.open_socket(
        parse_uri(disk.uri)[0], timeout_s=PATIENCE_S, client_flags=client_flags
    )
    try:
        yield client
    finally:
        client.sock.close()


def answers(client: Client, number: int, data: bytes = b"") -> list[OptionReplyMessage]:
    """Send an option; return all its replies, the last of which is ACK or an error.

    :raise AssertionError: a reply names another option.
    """
    client.send_option(number, data)
    replies: list[OptionReplyMessage] = []
    while True:
        reply = client.receive_option_reply()
        assert reply.option == number, f"a reply to option {reply.option}, not {number}"
        replies.append(reply)
        if reply.reply == OptionReply.ACK or c.is_option_error(reply.reply):
            return replies


def last_word(client: Client, number: int, data: bytes = b"") -> str:
    """Send an option; return the name of its last reply: ``ACK``, ``ERR_UNSUP``, or a number."""
    last = answers(client, number, data)[-1].reply
    return OptionReply(last).name if last in list(OptionReply) else hex(last)


def enter(client: Client, disk: Disk) -> None:
    """Go into the transmission phase: by GO, or by EXPORT_NAME where the server has no GO.

    :raise AssertionError: the size is not that of the disk.
    """
    if not knows(client, Option.INFO, m.info_request(export_of(disk))):
        client.opt_export_name(export_of(disk))
    else:
        client.opt_go(export_of(disk))
    assert client.size == disk.size, f"size {client.size}, not {disk.size}"


def knows(client: Client, number: int, data: bytes = b"") -> bool:
    """Ask for an option; say whether the server knows it (anything but ERR_UNSUP)."""
    return last_word(client, number, data) != "ERR_UNSUP"


def outcome(  # noqa: PLR0917  # the fields of the header, in their order
    client: Client,
    command: int,
    offset: int = 0,
    length: int = 0,
    flags: int = 0,
    payload: bytes = b"",
) -> int:
    """Send a request; return 0, the errno that travelled, or CLOSED.

    :raise TimeoutError: the server does not answer. :raise NbdProtocolError: it broke the protocol.
    """
    try:
        client.call(command, offset, length, flags=flags, payload=payload)
    except NbdError as error:
        return int(error.errno or 0)
    except (ConnectionError, BrokenPipeError):
        return CLOSED
    return 0


def is_closed(client: Client) -> bool:
    """Wait until the server closes the connection; False if it does not in ``PATIENCE_S``."""
    client.sock.settimeout(PATIENCE_S)
    try:
        while client.sock.recv(65536):
            pass
    except TimeoutError:
        return False
    except OSError:
        pass
    return True


def serves(disk: Disk) -> bool:
    """Say whether a fresh client gets what it asks for."""
    try:
        with haggling(disk) as client:
            enter(client, disk)
            expected = bytes(disk.shadow.expected(0, 512))
            return bytes(client.read(0, 512)) == expected
    except (OSError, NbdProtocolError):
        return False
