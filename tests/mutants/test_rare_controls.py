"""Each rare control answers as described, and keeps data right."""

from __future__ import annotations

import contextlib
import errno
import time

import pytest

from blockio.layers import Command, CommandFlag
from mutants.rare_controls import ContextsOfOthers, HolesSettle, UnknownFlags
from qbdcheck.files import ROOT
from qbdcheck.targets.mutant_target import profile
from reference_backend.client import Client
from reference_backend.nbd.constants import TransmissionFlag
from reference_backend.nbd.errors import NbdError, OptionRefused
from tests.mutants.conftest import Serve

MIB = 1 << 20
ALLOCATION = ("base:allocation",)


def test_exports_are_not_listed_but_opened(serve: Serve) -> None:
    with serve("control-list-refused") as server:
        with (
            contextlib.closing(Client.open_socket(str(server.socket), timeout_s=10)) as nbd,
            pytest.raises(OptionRefused, match="not listed"),
        ):
            nbd.opt_list()
        with server.connect("v") as nbd:
            assert nbd.size


def test_an_export_that_is_not_listed_is_opened(serve: Serve) -> None:
    with serve("control-list-empty") as server:
        with contextlib.closing(Client.open_socket(str(server.socket), timeout_s=10)) as nbd:
            assert list(nbd.opt_list()) == []
        with server.connect("v") as nbd:
            assert nbd.size


def test_the_minimum_is_advertised_to_those_who_ask(serve: Serve) -> None:
    with serve("control-sizes-required") as server, server.connect("v") as nbd:
        assert nbd.block_sizes is not None
        assert nbd.block_sizes[0] == 512
        with pytest.raises(NbdError, match="not aligned to 512 bytes"):
            nbd.call(Command.READ, 1, 512)
        with contextlib.closing(Client.open_socket(str(server.socket), timeout_s=10)) as old:
            with pytest.raises(OptionRefused, match="ask for the block size"):
                old.opt_go("v", ())
            with pytest.raises(ConnectionError):
                old.opt_export_name("v", no_zeroes=True)


def test_a_client_rounds_a_maximum_to_whole_blocks(serve: Serve) -> None:
    with serve("control-odd-maximum", "--max-block", "64k") as server, server.connect("v") as nbd:
        assert nbd.block_sizes == (4096, 4096, 65536)
        with pytest.raises(NbdError, match="not aligned to 4096 bytes"):
            nbd.call(Command.READ, 0, 65536 + 2048)
        assert len(nbd.read(0, 3 * 65536)) == 3 * 65536


def test_contexts_are_listed_by_a_wildcard_and_a_query_has_a_colon(serve: Serve) -> None:
    with (
        serve("control-strict-contexts") as server,
        contextlib.closing(Client.open_socket(str(server.socket), timeout_s=10)) as nbd,
    ):
        nbd.opt_structured_reply()
        assert "base:" in nbd.opt_list_meta_context("v")
        assert "base:allocation" not in nbd.opt_list_meta_context("v")
        assert nbd.opt_list_meta_context("v", ["base:"]) == ["base:allocation"]
        with pytest.raises(OptionRefused, match="lacks the colon"):
            nbd.opt_set_meta_context("v", [""])
        chosen = nbd.opt_set_meta_context("v", ["base:allocation"])
        assert list(chosen.values()) == ["base:allocation"]


def test_a_block_status_may_have_no_payload(serve: Serve) -> None:
    with (
        serve("control-no-status-payload") as server,
        Client.connect(str(server.socket), "v", extended=True, contexts=ALLOCATION) as nbd,
    ):
        assert not nbd.flags & TransmissionFlag.BLOCK_STAT_PAYLOAD
        assert nbd.block_status(0, MIB)
        with pytest.raises(NbdError) as refused:
            nbd.block_status(0, MIB, only=["base:allocation"])
        assert refused.value.errno == errno.EINVAL


def test_a_context_of_others_has_a_large_id_and_extents(serve: Serve) -> None:
    with serve("control-foreign-contexts") as server:
        wanted = ["base:allocation", ContextsOfOthers.NAME]
        with Client.connect(str(server.socket), "v", contexts=wanted) as nbd:
            assert set(nbd.contexts.values()) == set(wanted)
            assert min(nbd.contexts) >= ContextsOfOthers.FIRST
            status = nbd.block_status(0, MIB)
            assert [one.flags for one in status[ContextsOfOthers.NAME]] == [0x8000_0001]
            assert sum(one.length for one in status["base:allocation"]) == MIB


def test_unknown_flags_are_set(serve: Serve) -> None:
    with serve("control-unknown-flags") as server, server.connect("v") as nbd:
        assert nbd.flags & UnknownFlags.ADDED == UnknownFlags.ADDED
        assert nbd.flags & TransmissionFlag.SEND_FLUSH


def test_a_long_unsplit_read_is_refused(serve: Serve) -> None:
    with serve("control-df-eoverflow") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * MIB)
        with pytest.raises(NbdError) as caught:
            nbd.call(Command.READ, 0, 65537, flags=CommandFlag.DF)
        assert caught.value.errno == errno.EOVERFLOW
        short = nbd.call(Command.READ, 0, 65536, flags=CommandFlag.DF)
        assert bytes(short.data) == b"x" * 65536


def test_the_last_extent_reaches_beyond_the_range_and_not_beyond_the_end(serve: Serve) -> None:
    with serve("control-long-extents") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * MIB)
        for offset in (0, nbd.size - 4096):
            reply = nbd.call(Command.BLOCK_STATUS, offset, 4096)
            (extents,) = reply.extents.values()
            end = offset + sum(one.length for one in extents)
            assert (end > 4096) if not offset else (end == nbd.size)
        one = nbd.call(Command.BLOCK_STATUS, 0, 4096, flags=CommandFlag.REQ_ONE)
        assert [each.length for found in one.extents.values() for each in found] == [4096]


def test_chunks_come_backwards(serve: Serve) -> None:
    with serve("control-chunks-backwards") as server, server.connect("v") as nbd:
        nbd.write(0, bytes(range(256)) * 256)
        reply = nbd.call(Command.READ, 0, 3 * 65536)
        assert bytes(reply.data) == bytes(range(256)) * 256 + bytes(2 * 65536)
        offsets = [offset for offset, _, _ in reply.chunks]
        assert len(offsets) == 17
        assert offsets == sorted(offsets, reverse=True)


def test_discarded_ranges_read_as_ones_and_the_policy_is_waived(serve: Serve) -> None:
    with serve("control-discard-ff") as server, server.connect("v") as nbd:
        nbd.write(0, bytes(3 * MIB))
        nbd.trim(4096, 2 * MIB)
        data = bytes(nbd.read(0, 3 * MIB))
        assert data == bytes(4096) + b"\xff" * 2 * MIB + bytes(MIB - 4096)
    target = profile("mutant:control-legal:has=discard-ff+unknown-flags", ROOT / "targets")
    assert target.waives == ["discard-old-or-zero", "known-transmission-flags"]


def test_long_zeroes_are_refused(serve: Serve) -> None:
    with serve("control-long-effects-refused", size=64 * MIB) as server, server.connect("v") as nbd:
        size = 33 * MIB
        with pytest.raises(NbdError) as caught:
            nbd.call(Command.WRITE_ZEROES, 0, size)
        assert caught.value.errno == errno.EOVERFLOW
        nbd.call(Command.WRITE_ZEROES, 0, 32 * MIB)


def test_flushes_and_awakenings_take_time(serve: Serve) -> None:
    with serve("control-slow-flush") as server, server.connect("v") as nbd:
        begun_s = time.monotonic()
        nbd.flush()
        assert time.monotonic() - begun_s >= 0.05
    with serve("control-naps") as server, server.connect("v") as nbd:
        nbd.read(0, 4096)
        time.sleep(0.6)
        begun_s = time.monotonic()
        nbd.read(0, 4096)
        assert time.monotonic() - begun_s >= 1


@pytest.mark.parametrize("command", [Command.CACHE, Command.READ, Command.WRITE])
def test_a_violation_ends_its_connection_only(serve: Serve, command: Command) -> None:
    with serve("control-violations-disconnect", "--no-cache") as server:
        with contextlib.closing(server.connect("v")) as nbd, pytest.raises(ConnectionResetError):
            payload = bytes(4096) if command is Command.WRITE else b""
            flags = 0 if command is Command.CACHE else 1 << 9
            nbd.call(command, 0, 4096, flags=flags, payload=payload)
        with contextlib.closing(server.connect("v")) as nbd, pytest.raises(ConnectionResetError):
            nbd.call(Command.READ, nbd.size, 4096)
        with server.connect("v") as nbd:
            with pytest.raises(NbdError, match="not offered"):
                nbd.call(200, 0, 4096)  # no MUST forbids it: it gets EINVAL
            nbd.write(0, b"x" * 4096)
            assert bytes(nbd.read(0, 4096)) == b"x" * 4096


def test_holes_settle_some_replies_after_a_change(serve: Serve) -> None:
    with serve("control-holes-settle") as server, server.connect("v") as nbd:
        nbd.write(0, b"x" * 4096)
        nbd.write(4096, b"x" * 4096)
        seen = []
        for _ in range(HolesSettle.LATEST + 3):
            extents = nbd.block_status(0, MIB)["base:allocation"]
            assert sum(one.length for one in extents) == MIB
            seen.append(extents[-1].flags)
        assert seen == [3, 3, *[2] * HolesSettle.LATEST, 0]
