"""Connections that end before, within or after a reply."""

from __future__ import annotations

import errno

import pytest

from blockio.errors import BlockError
from blockio.layers import Below, Command, Reply, Request
from injectors.disconnect import Disconnect
from injectors.rules.fault import Call
from tests.injectors.conftest import on_wire

RAW = b"0123456789"


def cut(
    fault: Disconnect, below: Below | None = None, draw: int = 4
) -> tuple[tuple[bytes, bool], int]:
    asked: list[Request] = []

    def counted(request: Request) -> Reply:
        asked.append(request)
        return below(request) if below else Reply()

    call = Call(Request(Command.WRITE, 0, 0, 1, 1, b"x"), counted, lambda _: draw)
    return on_wire(fault.inject(call), RAW), len(asked)


@pytest.mark.parametrize(
    ("fault", "sent", "asked"),
    [
        (Disconnect("before-request"), b"", 0),
        (Disconnect("before-reply"), b"", 1),
        (Disconnect("mid-reply"), b"0123", 1),
        (Disconnect("mid-reply", sent=7), b"0123456", 1),
        (Disconnect("mid-reply", sent=99), b"012345678", 1),
        (Disconnect("after-reply"), RAW, 1),
    ],
)
def test_the_connection_ends_as_configured(fault: Disconnect, sent: bytes, asked: int) -> None:
    assert cut(fault) == ((sent, False), asked)


def test_a_failed_request_is_cut_too() -> None:
    def fail(_: Request) -> Reply:
        raise BlockError(errno.ENOSPC)

    assert cut(Disconnect("mid-reply"), fail)[0] == (b"0123", False)


def test_sent_goes_with_mid_reply_only() -> None:
    with pytest.raises(ValueError, match="mid-reply"):
        Disconnect("after-reply", sent=3)
