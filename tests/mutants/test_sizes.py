"""Each mutant of the group reports or enforces a wrong size."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import pytest

from reference_backend.client import Client
from reference_backend.nbd.errors import NbdProtocolError
from tests.mutants.conftest import Serve, control
from tests.reference_backend.cli_server import ServerProcess

MIB = 1 << 20


def reported_size(server: ServerProcess) -> int:
    with server.connect("v") as nbd:
        return nbd.size


@pytest.mark.parametrize(
    ("mutant", "size", "reported"),
    [
        ("size-rounded-down", 5000, 4096),
        ("size-rounded-up", 5000, 8192),
        ("size-int-overflow", 1 << 40, (-(1 << 40)) & 0xFFFFFFFFFFFFFFFF),
    ],
)
def test_the_reported_size(serve: Serve, mutant: str, size: int, reported: int) -> None:
    with serve(mutant, size=size) as server:
        assert reported_size(server) == reported


def test_the_second_client_gets_a_smaller_size(serve: Serve) -> None:
    with serve("size-change-across-reconnect") as server:
        assert [reported_size(server) for _ in range(3)] == [4 * MIB, 3 * MIB, 4 * MIB]


def resize(server: ServerProcess, size: int) -> None:
    control(server, "volume-resize", name="v", size=size)


def test_a_new_size_is_not_reported(serve: Serve) -> None:
    with serve("resize-not-notified") as server:
        assert reported_size(server) == 4 * MIB
        resize(server, 8 * MIB)
        assert reported_size(server) == 4 * MIB


def test_old_data_reappears_after_shrinking_and_growing(serve: Serve) -> None:
    with serve("grow-exposes-old-data") as server:
        with server.connect("v") as nbd:
            nbd.write(3 * MIB, b"x" * 4096)
        resize(server, MIB)
        resize(server, 4 * MIB)
        with server.connect("v") as nbd:
            assert bytes(nbd.read(3 * MIB, 4096)) == b"x" * 4096


@pytest.mark.parametrize(
    ("mutant", "deadly"),
    [
        ("last-block-overrun", lambda nbd: nbd.read(4 * MIB - 512, 512)),
        ("zero-length-op", lambda nbd: nbd.write_zeroes(0, 0)),
    ],
)
def test_a_request_kills_the_server(
    serve: Serve, mutant: str, deadly: Callable[[Client], object]
) -> None:
    with serve(mutant) as server:
        with server.connect("v") as nbd:
            nbd.read(0, 512)
            with contextlib.suppress(OSError, EOFError):
                deadly(nbd)
        assert server.process.wait(10) == 70


@pytest.mark.parametrize(
    ("mutant", "length"),
    [("min-block-underadvertised", 512), ("limits-zero-or-excessive", 2 * MIB)],
)
def test_an_allowed_request_fails(serve: Serve, mutant: str, length: int) -> None:
    with serve(mutant) as server, server.connect("v") as nbd:
        nbd.read(0, 4096)
        with pytest.raises(OSError):
            nbd.read(0, length)


def test_status_at_the_end_makes_no_progress(serve: Serve) -> None:
    with (
        serve("zero-progress-status") as server,
        server.connect("v") as nbd,
        pytest.raises(NbdProtocolError),
    ):
        nbd.block_status(4 * MIB - 4096, 4096)


def test_data_behind_the_first_mib_is_reported_as_a_hole(serve: Serve) -> None:
    with serve("status-lies-behind-first-mib") as server, server.connect("v") as nbd:
        nbd.write(2 * MIB, b"x" * 4096)
        assert nbd.block_status(2 * MIB, 4096)["base:allocation"][0].flags == 3


def test_a_discard_behind_the_end_succeeds(serve: Serve) -> None:
    with serve("oob-past-end") as server, server.connect("v") as nbd:
        nbd.trim(4 * MIB, 4096)
    with serve("control-plain") as server, server.connect("v") as nbd, pytest.raises(OSError):
        nbd.trim(4 * MIB, 4096)
