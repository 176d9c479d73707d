"""Raw NBD requests that keep to what the server advertises, and checks of their replies.

Reference: NBD document, "Size constraints" and "Command types".
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from blockio.layers import Command, CommandFlag
from oracles.shadow import Shadow
from qbdcheck.kit.expectations import errno_name, expect_content
from qbdcheck.programs.requests_sent import OK, note
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError

_OFFERED_BY = {
    Command.FLUSH: TransmissionFlag.SEND_FLUSH,
    Command.TRIM: TransmissionFlag.SEND_TRIM,
    Command.CACHE: TransmissionFlag.SEND_CACHE,
    Command.WRITE_ZEROES: TransmissionFlag.SEND_WRITE_ZEROES,
}
_END = 1 << 64
"""No request ends behind this offset."""


class BlockSizes(NamedTuple):
    """Sizes of requests in bytes."""

    minimum: int
    preferred: int
    maximum: int


def block_sizes(client: Client) -> BlockSizes:
    """Return the block sizes that the server advertises; without any: 1 byte, 4 KiB, 32 MiB."""
    return BlockSizes(*(client.block_sizes or (1, 4096, 32 << 20)))


def widened(offset: int, length: int, block: int) -> tuple[int, int]:
    """Return the smallest range of whole blocks that contains a range, all in bytes."""
    start = offset // block * block
    return start, -(-(offset + length) // block) * block - start


def in_blocks(  # a range and what limits it
    offset: int, length: int, minimum: int, longest: int, size: int
) -> tuple[int, int]:
    """Return a range in whole minimum blocks.

    It stays within the export, or behind its end, as the range was. It is no longer than the
    longest request, unless the range was.
    """
    start, count = widened(offset, length, minimum)
    is_inside = offset + length <= size
    if is_inside:
        count = min(count, size - start)
    if length <= longest < count:
        surplus = count - longest // minimum * minimum
        start += 0 if is_inside else surplus
        count -= surplus
    return (start, count) if start + count <= _END else (offset, length)


def describe(command: int, offset: int = 0, length: int = 0, flags: int = 0) -> str:
    """Return a request in words: ``WRITE of 512 bytes at 4096 (FUA)``."""
    known = command in list(Command)
    name = Command(command).name if known else f"command {command}"
    text = name if command == Command.FLUSH else f"{name} of {length} bytes at {offset}"
    return f"{text} ({flag_names(flags)})" if flags else text


def flag_names(flags: int) -> str:
    """Return the names of command flags: ``FUA, NO_HOLE``; unknown bits as a number."""
    names = [flag.name or "" for flag in CommandFlag if flag & flags]
    rest = flags & ~sum(CommandFlag)
    return ", ".join([*names, hex(rest)] if rest else names)


def is_offered(client: Client, command: Command) -> bool:
    """Return whether the transmission flags of the export offer a command."""
    flag = _OFFERED_BY.get(command)
    return flag is None or bool(client.flags & flag)


def request_name(command: int, offset: int, length: int, flags: int = 0) -> str:
    """Return a request as text: ``WRITE of 512 bytes at offset 4096, flags FUA``."""
    name = Command(command).name if command in set(Command) else f"command {command}"
    text = f"{name} of {length} bytes at offset {offset}"
    return f"{text}, flags {CommandFlag(flags).name or hex(flags)}" if flags else text


@contextmanager
def _named(request: str) -> Iterator[None]:
    """Name the request in the failure if it fails or the server closes the connection.

    It is noted, so that the death of the server names it too.

    :raise AssertionError: it does.
    """
    sent = note(request)
    try:
        yield
        sent.result = OK
    except NbdError as error:
        sent.result = errno_name(error.errno or 0)
        seen = f"{request}: expected success, got {errno_name(error.errno or 0)} ({error.strerror})"
        raise AssertionError(seen) from None
    except (ConnectionError, EOFError):
        seen = f"{request}: the server closed the connection without a reply"
        raise AssertionError(seen) from None


def call_for_errno(
    client: Client, command: int, offset: int, length: int, *, flags: int = 0, payload: bytes = b""
) -> int:
    """Send a request, wait for its reply, and return the errno of the reply; 0 is success."""
    with _named(request_name(command, offset, length, flags)):
        cookie = client.send_request(command, offset, length, flags=flags, payload=payload)
        return client.receive_reply(cookie).error


def expect_error(
    client: Client,
    command: int,
    offset: int,
    length: int,
    *,
    errnos: tuple[int, ...] = (),
    payload: bytes | None = None,
) -> int:
    """Send a request that must fail; return its errno.

    :param errnos: the errnos that are right; empty for any.
    :param payload: of a WRITE; by default zeroes.
    :raise AssertionError: it succeeded, or failed with another errno.
    """
    if payload is None:
        payload = bytes(length) if command == Command.WRITE else b""
    seen = call_for_errno(client, command, offset, length, payload=payload)
    wanted = f"the errno {' or '.join(map(errno_name, errnos))}" if errnos else "an error"
    name = request_name(command, offset, length)
    if offset + length > client.size:
        name += f", beyond the end of an export of {client.size} bytes"
    assert seen, f"{name}: expected {wanted}, but it succeeded"
    assert not errnos or seen in errnos, f"{name}: expected {wanted}, got {errno_name(seen)}"
    return seen


def read_range(client: Client, offset: int, length: int) -> bytes:
    """Read a range and return its data.

    :raise AssertionError: the read failed.
    """
    with _named(request_name(Command.READ, offset, length)):
        return bytes(client.read(offset, length))


def expect_read(
    client: Client, shadow: Shadow, offset: int, length: int, *, after: str = ""
) -> None:
    """Read a range and compare it with the shadow.

    :param after: what came before it, where that must not have changed anything.
    :raise AssertionError: the read failed. :raise WrongData: other data came.
    """
    data = read_range(client, offset, length)
    name = request_name(Command.READ, offset, length)
    expect_content(shadow, offset, data, f"{name}, after {after}" if after else name, length)
