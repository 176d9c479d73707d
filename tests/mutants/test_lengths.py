"""Each mutant of the group lengths damages long requests, names, LIST, or what follows a pause."""

from __future__ import annotations

from pathlib import Path

import pytest

from blockio.layers import CommandFlag
from reference_backend.client import Client
from reference_backend.nbd.errors import NbdError, NbdProtocolError
from tests.mutants.conftest import Clock, Serve, control

KIB, MIB = 1 << 10, 1 << 20
X, Y = b"x" * 4 * KIB, b"y" * 4 * KIB


@pytest.mark.parametrize(
    ("mutant", "flags", "length", "zero_to"),
    [
        ("fast-zero-int-length", CommandFlag.FAST_ZERO, 2049 * MIB, 0),
        ("fua-zeroes-cut", CommandFlag.FUA, 40 * MIB, 32 * MIB),
    ],
)
def test_long_zeroes_are_cut(
    serve: Serve, mutant: str, flags: int, length: int, zero_to: int
) -> None:
    with serve(mutant, size=2100 * MIB) as server, server.connect("v") as nbd:
        for at in (0, 32 * MIB):
            nbd.write(at, X)
        nbd.write_zeroes(0, length, flags)
        assert any(nbd.read(0, 4096)) is (zero_to == 0)
        assert any(nbd.read(32 * MIB, 4096))


def test_a_long_cache_request_hangs_up(serve: Serve) -> None:
    with (
        serve("cache-long-hangs-up", size=80 * MIB) as server,
        server.connect("v") as nbd,
        pytest.raises(ConnectionError),
    ):
        nbd.cache(0, 64 * MIB)
        nbd.cache(0, 65 * MIB)


@pytest.mark.parametrize(
    ("mutant", "wrong"), [("name-cut-at-23", "n" * 23 + "x"), ("name-folded", "N" * 23)]
)
def test_another_name_is_accepted(serve: Serve, mutant: str, wrong: str) -> None:
    with serve(mutant) as server:
        control(server, "volume-create", name="n" * 23, size=4096)
        with Client.connect(str(server.socket), wrong) as nbd:
            assert nbd.size == 4096


def listed(socket: Path) -> list[str]:
    with Client.open_socket(str(socket), timeout_s=0.5) as client:
        return client.opt_list()


def test_list_leaves_long_names_out(serve: Serve) -> None:
    with serve("list-misses-names") as server:
        control(server, "volume-create", name="n" * 65, size=4096)
        assert listed(server.socket) == ["v"]


def test_list_does_not_count_the_name(serve: Serve) -> None:
    with serve("list-length-short") as server, pytest.raises(NbdProtocolError):
        listed(server.socket)


def test_list_does_not_end(serve: Serve) -> None:
    with serve("list-ack-missing") as server, pytest.raises(TimeoutError):
        listed(server.socket)


def test_a_small_write_is_overtaken(serve: Serve) -> None:
    with serve("small-overtakes-large") as server, server.connect("v") as nbd:
        nbd.write(0, X * 16)
        nbd.write(4 * KIB, Y)
        nbd.write(8 * KIB, Y)
        assert bytes(nbd.read(0, 12 * KIB)) == X * 2 + Y


def test_the_first_write_after_a_pause_is_lost(serve: Serve, clock: Clock) -> None:
    with serve("idle-write-lost") as server, server.connect("v") as nbd:
        nbd.write(0, X)
        clock.advance(0.9)
        nbd.write(0, Y)
        assert bytes(nbd.read(0, 4 * KIB)) == X


def test_the_first_read_after_a_pause_fails(serve: Serve, clock: Clock) -> None:
    with serve("idle-read-fails") as server, server.connect("v") as nbd:
        nbd.read(0, 512)
        clock.advance(0.9)
        with pytest.raises(NbdError):
            nbd.read(0, 512)
        nbd.read(0, 512)
