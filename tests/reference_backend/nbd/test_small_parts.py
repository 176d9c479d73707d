"""Parts of the protocol code that whole connections rarely reach."""

from __future__ import annotations

import errno

import pytest

from blockio.errors import BlockError
from reference_backend.nbd import messages as m
from reference_backend.nbd.agreement import Agreement
from reference_backend.nbd.constants import ClientFlag, Option, OptionReply
from reference_backend.nbd.negotiation import ServerNegotiation
from reference_backend.nbd.replies import HOLE_UNIT, zero_runs
from reference_backend.nbd.rules import Rules
from reference_backend.nbd.settings import Device, Features, Limits
from reference_backend.server import FixedExports

from .pair import replies


def test_rules_need_an_export() -> None:
    with pytest.raises(ValueError, match="has not chosen an export"):
        Rules(Agreement(), Features(), Limits())


def test_without_block_status_no_context_is_offered() -> None:
    assert Features(block_status=False).contexts() == []
    assert Features(dirty=False).contexts() == ["base:allocation"]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_zero_runs_are_found_in_any_kind_of_buffer(kind: type) -> None:
    data = bytes(2 * HOLE_UNIT) + b"x" * HOLE_UNIT + bytes(HOLE_UNIT) + bytes(5)
    assert zero_runs(kind(data)) == [
        (0, 2 * HOLE_UNIT, True),
        (2 * HOLE_UNIT, 3 * HOLE_UNIT, False),
        (3 * HOLE_UNIT, 4 * HOLE_UNIT, True),
        (4 * HOLE_UNIT, 4 * HOLE_UNIT + 5, False),
    ]


class FailingExports(FixedExports):
    """Exports that fail when they are opened."""

    def open(self, name: str) -> Device:
        raise BlockError(errno.EIO, f"{name}: medium")


def test_an_export_that_cannot_be_opened_is_a_platform_error() -> None:
    server = ServerNegotiation(FailingExports({}))
    assert server.receive(m.CLIENT_FLAGS.pack(ClientFlag.FIXED_NEWSTYLE)) == b""
    [reply] = replies(server.receive(m.option(Option.GO, m.info_request("vol"))))
    assert (reply.reply, reply.data) == (OptionReply.ERR_PLATFORM, b"vol: medium")
