"""Raw requests: they keep to the advertised sizes, and messages name the request."""

from __future__ import annotations

from collections.abc import Iterator
from errno import EINVAL, ENOSPC
from pathlib import Path

import pytest

from blockio.layers import Command, CommandFlag
from oracles.shadow import Shadow
from qbdcheck.kit.nbd_requests import (
    block_sizes,
    call_for_errno,
    expect_error,
    expect_read,
    is_offered,
    request_name,
    widened,
)
from qbdcheck.kit.reference import MemoryPool, Server, VolumeOptions
from qbdcheck.targets.disk_io import WrongData
from reference_backend.client import Client

SIZE = 1 << 20


@pytest.fixture
def client(tmp_path: Path) -> Iterator[Client]:
    """Connect to a volume with a minimum block of 4 KiB."""
    pool = MemoryPool(VolumeOptions(block_sizes=(4096, 4096, 1 << 20)))
    pool.create("disk", SIZE)
    server = Server(pool, str(tmp_path / "socket"))
    server.start()
    client = Client.connect(f"nbd+unix:///disk?socket={tmp_path / 'socket'}")
    try:
        yield client
    finally:
        client.close()
        server.stop()
        pool.close()


@pytest.mark.parametrize(
    ("wanted", "block", "whole"),
    [
        ((1, 1), 512, (0, 512)),
        ((511, 2), 512, (0, 1024)),
        ((4096, 512), 1, (4096, 512)),
        ((512, 512), 512, (512, 512)),
        ((0, 0), 512, (0, 0)),
    ],
)
def test_a_range_is_widened_to_whole_blocks(
    wanted: tuple[int, int], block: int, whole: tuple[int, int]
) -> None:
    assert widened(*wanted, block) == whole


def test_a_request_has_a_name() -> None:
    assert request_name(Command.WRITE, 4096, 512) == "WRITE of 512 bytes at offset 4096"
    flags = CommandFlag.FUA | CommandFlag.NO_HOLE
    assert request_name(6, 0, 1, flags) == "WRITE_ZEROES of 1 bytes at offset 0, flags FUA|NO_HOLE"
    assert request_name(99, 0, 1) == "command 99 of 1 bytes at offset 0"


def test_requests_keep_to_the_block_sizes_and_are_compared(client: Client) -> None:
    assert block_sizes(client) == (4096, 4096, 1 << 20)
    assert is_offered(client, Command.READ)
    assert is_offered(client, Command.FLUSH)
    shadow = Shadow(SIZE)
    data = shadow.stamped(4096, 8192)
    client.write(4096, data)
    shadow.write(4096, data)
    expect_read(client, shadow, 0, 16384)
    client.write(4096, bytes(4096))
    with pytest.raises(WrongData, match="READ of 16384 bytes at offset 0 differs"):
        expect_read(client, shadow, 0, 16384)


def test_errors_are_expected_by_number(client: Client) -> None:
    assert call_for_errno(client, Command.READ, 0, 4096) == 0
    assert call_for_errno(client, Command.READ, 1, 4096) == EINVAL
    assert expect_error(client, Command.WRITE, SIZE, 4096, errnos=(EINVAL, ENOSPC)) == ENOSPC
    with pytest.raises(
        AssertionError, match="READ of 4096 bytes at offset 0: expected an error, but it suc"
    ):
        expect_error(client, Command.READ, 0, 4096)
    with pytest.raises(AssertionError, match="expected the errno ENOSPC, got EINVAL"):
        expect_error(client, Command.READ, 1, 4096, errnos=(ENOSPC,))
    beyond = "READ of 1 bytes at offset 1048576, beyond the end of an export of 1048576 bytes: expe"
    with pytest.raises(AssertionError, match=beyond):
        expect_error(client, Command.READ, SIZE, 1, errnos=(ENOSPC,))


def test_a_request_without_success_is_named(client: Client) -> None:
    shadow = Shadow(SIZE)
    with pytest.raises(AssertionError, match="READ of 1 bytes at offset 1: expected success, got"):
        expect_read(client, shadow, 1, 1)
    client.send_request(Command.DISC)
    with pytest.raises(AssertionError, match="READ of 4096 bytes at offset 0: the server closed"):
        call_for_errno(client, Command.READ, 0, 4096)
