"""A secret that other connections leave with a server, to look for it in what a client gets."""

from __future__ import annotations

import contextlib

from blockio.layers import Command
from oracles.damage import Damage
from oracles.damage import error as outcome
from qbdcheck.kit.expectations import WrongAnswer
from qbdcheck.kit.nbd_io import minimum_block
from qbdcheck.kit.nbd_probe import enter_transmission, negotiating, option_replies
from qbdcheck.kit.nbd_requests import describe
from qbdcheck.machine_speed import elapsed_limit_s
from qbdcheck.targets.disk import Disk
from reference_backend.client import Client
from reference_backend.nbd import messages as m
from reference_backend.nbd.constants import Option
from reference_backend.nbd.errors import NbdError, NbdProtocolError, OptionRefused

FAILS = (OSError, EOFError, NbdError, NbdProtocolError, OptionRefused, AssertionError)
"""What a server may answer to a malformed option or request, and how that ends."""
ANSWER_S = 2.0
"""Seconds in which a server answers an option, on an idle machine."""
_BLOCK = 4096


def send_options(client: Client, *texts: bytes) -> None:
    """Send options that a server knows, and one that it does not, with each text as their data.

    A server that does not answer one within `ANSWER_S` has received it, and gets no further one:
    it may take the next for a part of it. The connection keeps this limit then.
    """
    before = client.sock.gettimeout()
    client.sock.settimeout(elapsed_limit_s(ANSWER_S))
    for data in texts:
        for number in (Option.INFO, Option.LIST, Option.SET_META_CONTEXT, Option.STARTTLS, 0x7101):
            try:
                option_replies(client, number, data)
            except FAILS as error:
                if isinstance(error, TimeoutError) or isinstance(error.__context__, TimeoutError):
                    return
    client.sock.settimeout(before)


def plant(disk: Disk, secret: bytes) -> None:
    """Send a secret as the payload of writes that are refused, then as the data of options.

    :raise WrongAnswer: a write was refused, and the volume has its data.
    """
    refused = [_refused(disk, secret, *write) for write in _writes(disk.size)]
    minimum = minimum_block(disk)
    with negotiating(disk) as client:
        enter_transmission(client, disk)
        for offset, flags in filter(None, refused):
            _nothing_stored(client, disk.size, minimum, secret, offset, flags)
    with negotiating(disk) as client:  # the last bytes that the server received are the secret
        name = (secret * 4).decode()
        texts = m.info_request(name), m.meta_context_request(name, [name])
        send_options(client, secret * 8, *texts)


def _writes(size: int) -> tuple[tuple[int, int], ...]:
    """Return offset and flags of writes behind the end, across it, and with an unknown flag."""
    return (size, 0), (size - _BLOCK, 0), (0, 1 << 13)


def _refused(disk: Disk, secret: bytes, offset: int, flags: int) -> tuple[int, int] | None:
    """Send a write of the secret; return it if it was refused, and undo it if it was done."""
    payload = (secret * _BLOCK)[: 2 * _BLOCK]
    with negotiating(disk) as client:
        enter_transmission(client, disk)
        try:
            client.call(Command.WRITE, offset, 2 * _BLOCK, flags=flags, payload=payload)
        except FAILS:
            return offset, flags
        with contextlib.suppress(*FAILS):
            client.call(Command.WRITE, offset, 2 * _BLOCK, payload=bytes(2 * _BLOCK))
    return None


def _nothing_stored(  # noqa: PLR0917  # the volume, and one write
    client: Client, size: int, minimum: int, secret: bytes, offset: int, flags: int
) -> None:
    block = max(minimum, _BLOCK)
    start, end = offset // block * block, min(offset + 2 * _BLOCK, size)
    places = range(start, end, block)
    data = b"".join(bytes(client.read(at, min(block, size - at))) for at in places)
    at = data.find(secret)
    if at >= 0:
        what = describe(Command.WRITE, offset, 2 * _BLOCK, flags)
        text = f"{what} was refused, and its data is in the volume at {start + at}"
        raise WrongAnswer(text, Damage.OTHER_WRITE, None, outcome(0))
