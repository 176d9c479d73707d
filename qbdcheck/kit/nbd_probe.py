"""Questions to an NBD server, byte by byte, for the cases of the network suite.

The raw client (`reference_backend.client.Client`) breaks any rule on request. The functions here
interpret the server's answers, and demand no more than the NBD document does.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from blockio.layers import Command
from qbdcheck.errors import NotRun
from qbdcheck.kit.nbd_io import CLOSED, NbdIo
from qbdcheck.kit.nbd_requests import describe
from qbdcheck.kit.request_errors import RequestFailed, RequestHangs, RequestLost
from qbdcheck.machine_speed import Limit, elapsed_limit_s, must_not_be_starved
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import must_agree
from reference_backend.client import Client, parse_uri
from reference_backend.nbd import constants as c
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import ReplyMode
from reference_backend.nbd.client_options import OptionReplyMessage
from reference_backend.nbd.constants import Option, OptionReply
from reference_backend.nbd.errors import NbdError, NbdProtocolError, OptionRefused

__all__ = [
    "CLOSED",
    "connected",
    "enforces_sizes",
    "enter_transmission",
    "errno_of",
    "export_name",
    "has_go",
    "is_answered",
    "is_closed",
    "is_serving",
    "needs_options",
    "negotiating",
    "oldest_refused",
    "option_replies",
    "option_result",
    "refusal_text",
    "supports_option",
]

REPLY_LIMIT_S = 5.0
"""Seconds that a server may take for one reply."""
_DEFAULT_MAXIMUM = 32 << 20
"""Bytes of a read or write that a server takes if it advertises nothing ("Size constraints")."""
ALL_FLAGS = int(c.ClientFlag.FIXED_NEWSTYLE | c.ClientFlag.NO_ZEROES)


def export_name(disk: Disk) -> str:
    """Return the name of a disk's export."""
    return parse_uri(disk.uri)[1]


@contextlib.contextmanager
def negotiating(
    disk: Disk, client_flags: int | None = ALL_FLAGS, *, needs_handshake: bool = True
) -> Iterator[Client]:
    """Connect to a disk's server and stop after the client's flags; close at the end.

    :param client_flags: None: send no client flags.
    :raise NotRun: the server has the oldstyle handshake, in which a client sends nothing, and
        ``needs_handshake``.
    """
    client = Client.open_socket(
        parse_uri(disk.uri)[0], timeout_s=elapsed_limit_s(REPLY_LIMIT_S), client_flags=client_flags
    )
    try:
        if client.is_oldstyle and needs_handshake:
            raise NotRun("the server has the oldstyle handshake, in which a client sends nothing")
        yield client
    finally:
        client.sock.close()


@contextlib.contextmanager
def connected(disk: Disk) -> Iterator[NbdIo]:
    """Connect to a disk's export with simple replies; close at the end, without DISC.

    With ``--headers extended`` the connection has extended headers.

    :raise NotRun: the server refuses them.
    """
    with negotiating(disk, needs_handshake=False) as client:
        if Client.headers is ReplyMode.EXTENDED:
            client.agree_on_headers(structured=True, extended=True)
            must_agree(client, ReplyMode.EXTENDED)
        enter_transmission(client, disk)
        yield NbdIo(client, disk.shadow, f"the connection to {disk.name}", sizes=disk.backend.sizes)


def needs_options(client: Client) -> None:
    """Check that the server answers options, which only the fixed newstyle handshake does.

    :raise NotRun: it has the older handshake, in which EXPORT_NAME is the only option.
    """
    if not client.handshake_flags & c.HandshakeFlag.FIXED_NEWSTYLE:
        raise NotRun("the server has no fixed newstyle handshake, and so no options")


def option_replies(client: Client, number: int, data: bytes = b"") -> list[OptionReplyMessage]:
    """Send an option; return all its replies. The last one is ACK or an error.

    :raise AssertionError: a reply names another option, no reply ends the option in time, or a
        reply has another length than it declares.
    :raise NotRun: the server has no fixed newstyle handshake.
    """
    needs_options(client)
    client.send_option(number, data)
    replies: list[OptionReplyMessage] = []
    while True:
        reply = _next_reply(client, number, replies)
        assert reply.option == number, (
            f"option {number} was sent, the reply names option {reply.option}"
        )
        replies.append(reply)
        if reply.reply == OptionReply.ACK or c.is_option_error(reply.reply):
            return replies


def _next_reply(
    client: Client, number: int, before: list[OptionReplyMessage]
) -> OptionReplyMessage:
    name = Option(number).name if number in list(Option) else f"option {number}"
    what = "export" if number == Option.LIST else "reply"
    seen = f"{len(before)} {what}{'s' * (len(before) != 1)}"
    try:
        return client.receive_option_reply()
    except TimeoutError:
        raise AssertionError(f"{name}: no ACK after {seen}") from None
    except NbdProtocolError as error:
        if not before or "magic" not in str(error):
            raise
        declared = len(before[-1].data)
        raise AssertionError(
            f"{name}: {what} {len(before)} declares {declared} bytes, and its content has another"
            f" length: what follows is not a reply ({error})"
        ) from None


def option_result(
    client: Client, number: int, data: bytes = b"", *, may_close: bool = False
) -> str:
    """Send an option; return the name of its last reply: ``ACK``, ``ERR_UNSUP``, or a number.

    :param may_close: return "CLOSED" if the server ends the connection. It may, if the option
        violates a MUST ("Terminating the session").
    """
    try:
        last = option_replies(client, number, data)[-1].reply
    except ConnectionError:
        if not may_close:
            raise
        return "CLOSED"
    return OptionReply(last).name if last in list(OptionReply) else hex(last)


def enter_transmission(client: Client, disk: Disk) -> None:
    """Enter the transmission phase: by GO, or by EXPORT_NAME where the server has no GO.

    :raise AssertionError: the size is not that of the disk.
    """
    fixed = client.handshake_flags & c.HandshakeFlag.FIXED_NEWSTYLE
    request = m.info_request(export_name(disk))
    if not fixed or not supports_option(client, Option.INFO, request):
        no_zeroes = bool(client.handshake_flags & c.HandshakeFlag.NO_ZEROES)
        client.opt_export_name(export_name(disk), no_zeroes=no_zeroes)
    else:
        client.opt_go(export_name(disk))
    assert client.size == disk.size, (
        f"the export has {client.size} bytes, expected {disk.size} bytes; if it had the right size"
        " before, the server carried out an earlier request beyond the end"
    )


def enforces_sizes(client: Client, disk: Disk) -> bool:
    """Return whether a server may insist that clients ask for its block sizes.

    That is so if they are not the default ones ("Size constraints").

    :param client: in the handshake.
    """
    if not client.handshake_flags & c.HandshakeFlag.FIXED_NEWSTYLE:
        return False
    try:
        client.opt_info(export_name(disk))
    except OptionRefused:
        return False
    sizes = client.block_sizes
    return sizes is not None and (sizes[0] > 1 or sizes[2] < _DEFAULT_MAXIMUM)


def oldest_refused(disk: Disk) -> str:
    """Return why the server refuses EXPORT_NAME for an export that it has; "" if it may not.

    By EXPORT_NAME a client cannot ask for block sizes, so a server that enforces them may end the
    connection ("Size constraints").
    """
    with negotiating(disk) as client:
        if not enforces_sizes(client, disk):
            return ""
    with negotiating(disk) as client:
        no_zeroes = bool(client.handshake_flags & c.HandshakeFlag.NO_ZEROES)
        try:
            client.opt_export_name(export_name(disk), no_zeroes=no_zeroes)
        except ConnectionError:
            return "the server lets in only clients that ask for its block sizes"
    return ""


def has_go(disk: Disk) -> bool:
    """Return whether the server has GO and INFO, so that it refuses a missing export by a reply."""
    with negotiating(disk) as client:
        if not client.handshake_flags & c.HandshakeFlag.FIXED_NEWSTYLE:
            return False
        return supports_option(client, Option.INFO, m.info_request(export_name(disk)))


def supports_option(client: Client, number: int, data: bytes = b"") -> bool:
    """Send an option; return whether the server supports it (any result but ERR_UNSUP)."""
    return option_result(client, number, data) != "ERR_UNSUP"


def errno_of(  # noqa: PLR0917  # the fields of the header, in their order
    client: Client,
    command: int,
    offset: int = 0,
    length: int = 0,
    flags: int = 0,
    payload: bytes = b"",
) -> int:
    """Send a request past the shadow; return 0, the errno of the reply, or `CLOSED`.

    :raise RequestLost: the server does not answer in time. :raise NbdProtocolError: the server
        broke the protocol.
    """
    try:
        client.call(command, offset, length, flags=flags, payload=payload)
    except NbdError as error:
        return int(error.errno or 0)
    except TimeoutError:
        request = describe(command, offset, length, flags)
        raise RequestHangs(f"{request}: no reply within {REPLY_LIMIT_S:g} s") from None
    except (ConnectionError, BrokenPipeError):
        return CLOSED
    return 0


def refusal_text(client: Client, command: int, offset: int, length: int) -> str:
    """Send a request that a client MUST NOT send; return the text of the error.

    It is "" if the server hangs up, or says nothing.
    """
    try:
        return client.receive_reply(client.send_request(command, offset, length)).message
    except ConnectionError:
        return ""


def is_answered(disk: Disk, command: int, offset: int, length: int, flags: int) -> bool:
    """Send a request on a connection of its own; return whether the server does not hang up.

    It may, if a client MUST NOT send the request ("Terminating the transmission phase"). A WRITE
    carries 0xee.
    """
    payload = b"\xee" * length if command == Command.WRITE else b""
    with connected(disk) as io:
        return errno_of(io.client, command, offset, length, flags, payload) != CLOSED


def is_closed(client: Client) -> bool:
    """Wait until the server closes the connection; False after ``REPLY_LIMIT_S``.

    :raise TimeoutError: it does not, and the machine is starved.
    """
    limit = Limit(REPLY_LIMIT_S)
    while left_s := limit.left_s():
        client.sock.settimeout(left_s)
        try:
            if not client.sock.recv(65536):
                return True
        except TimeoutError:
            pass
        except OSError:
            return True
    must_not_be_starved(f"the server did not close the connection within {limit.seconds:g} s")
    return False


def is_serving(disk: Disk) -> bool:
    """Return whether a new client can connect and reads the right data.

    :raise WrongData: it reads wrong data.
    """
    try:
        with connected(disk) as io:
            minimum = max(512, io.block_sizes[0])
            io.read(0, minimum)
    except (RequestFailed, RequestLost, OSError, NbdProtocolError):
        return False
    return True
