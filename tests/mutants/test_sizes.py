"""Each mutant of the group tells the size, or keeps to it, as it says."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from qemu.qmp import QMPClient

from reference_backend.nbd.errors import NbdProtocolError

MIB = 1 << 20


def size_told(server) -> int:
    with server.connect("v") as nbd:
        return nbd.size


@pytest.mark.parametrize(
    ("mutant", "size", "told"),
    [
        ("size-rounded-down", 5000, 4096),
        ("size-rounded-up", 5000, 8192),
        ("size-int-overflow", 1 << 40, (-(1 << 40)) & 0xFFFFFFFFFFFFFFFF),
    ],
)
def test_the_size_that_is_told(serve, mutant, size, told) -> None:
    with serve(mutant, size=size) as server:
        assert size_told(server) == told


def test_the_second_client_is_told_less(serve) -> None:
    with serve("size-change-across-reconnect") as server:
        assert [size_told(server) for _ in range(3)] == [4 * MIB, 3 * MIB, 4 * MIB]


def resize(server, size: int) -> None:
    async def run() -> None:
        client = QMPClient("test")
        await client.connect(str(server.control))
        await client.execute("volume-resize", {"name": "v", "size": size})
        await client.disconnect()

    asyncio.run(run())


def test_a_new_size_is_not_told(serve) -> None:
    with serve("resize-not-notified") as server:
        assert size_told(server) == 4 * MIB
        resize(server, 8 * MIB)
        assert size_told(server) == 4 * MIB


def test_old_data_is_there_after_shrinking_and_growing(serve) -> None:
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
def test_a_request_kills_the_server(serve, mutant, deadly) -> None:
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
def test_what_is_allowed_fails(serve, mutant, length) -> None:
    with serve(mutant) as server, server.connect("v") as nbd:
        nbd.read(0, 4096)
        with pytest.raises(OSError):
            nbd.read(0, length)


def test_status_at_the_end_makes_no_progress(serve) -> None:
    with (
        serve("zero-progress-status") as server,
        server.connect("v") as nbd,
        pytest.raises(NbdProtocolError),
    ):
        nbd.block_status(4 * MIB - 4096, 4096)


def test_data_behind_the_first_mib_is_called_a_hole(serve) -> None:
    with serve("status-lies-behind-first-mib") as server, server.connect("v") as nbd:
        nbd.write(2 * MIB, b"x" * 4096)
        assert nbd.block_status(2 * MIB, 4096)["base:allocation"][0].flags == 3


def test_a_discard_behind_the_end_succeeds(serve) -> None:
    with serve("oob-past-end") as server, server.connect("v") as nbd:
        nbd.trim(4 * MIB, 4096)
    with serve("control-plain") as server, server.connect("v") as nbd, pytest.raises(OSError):
        nbd.trim(4 * MIB, 4096)
