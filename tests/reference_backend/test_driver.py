"""The callbacks of the driver, called in process like QEMU calls them."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Iterator

import pytest

from blockio.errors import VolumeNotFound
from reference_backend.driver import BlockSizes, QbdDriver
from reference_backend.memory_pool import MemoryPool
from reference_backend.pool import VolumeOptions


@pytest.fixture
def pool() -> MemoryPool:
    return MemoryPool(volumes=[("pool/vol", 1 << 20)])


@pytest.fixture
def driver(pool: MemoryPool) -> Iterator[QbdDriver]:
    driver = QbdDriver(pool)
    driver.file_open({"volume": "pool/vol"})
    yield driver
    driver.close()


@pytest.mark.parametrize(
    ("filename", "options"),
    [
        ("qbd:pool/vol_100T", {"volume": "pool/vol_100T"}),
        ("qbd:pool/a/b", {"volume": "pool/a/b"}),
        ("qbd:pool/vol@snap", {"volume": "pool/vol", "snapshot": "snap"}),
        ("qbd:pool/vol:read-only=on", {"volume": "pool/vol", "read-only": True}),
        (
            "qbd:pool/vol@s:physical_block_size=4096:logical_block_size=512",
            {
                "volume": "pool/vol",
                "snapshot": "s",
                "physical_block_size": 4096,
                "logical_block_size": 512,
            },
        ),
        (r"qbd:pool/a\:b\@c", {"volume": "pool/a:b@c"}),
        ("qbd:pööl/völ", {"volume": "pööl/völ"}),
    ],
)
def test_names_become_options(filename: str, options: dict[str, str | int]) -> None:
    assert QbdDriver.parse_filename(filename) == options


@pytest.mark.parametrize(
    ("filename", "message"),
    [
        ("rbd:pool/vol", "File name must start with 'qbd:'"),
        ("qbd:", "Pool name is required"),
        ("qbd:vol", "Pool name is required"),
        ("qbd:/vol", "Pool name is required"),
        ("qbd:pool/", "Volume name is required"),
        ("qbd:pool/@snap", "Volume name is required"),
        ("qbd:pool/vol@", "Snapshot name is required"),
        ("qbd:pool/vol:", "Option '' needs a value: key=value"),
        ("qbd:pool/vol:cache", "Option 'cache' needs a value: key=value"),
        (
            "qbd:pool/vol:cache=none",
            "Unknown option 'cache', known are logical_block_size, physical_block_size, read-only",
        ),
        ("qbd:pool/vol:read-only=1", "Parameter 'read-only' expects 'on' or 'off'"),
        (
            "qbd:pool/vol:logical_block_size=500",
            "Parameter 'logical_block_size' expects a power of 2, at least 512",
        ),
    ],
)
def test_wrong_names_are_refused_with_the_reason(filename: str, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        QbdDriver.parse_filename(filename)


def test_what_is_written_in_pieces_is_read_in_other_pieces(driver: QbdDriver) -> None:
    results: list[int] = []
    driver.aio_writev(3, [b"a" * 512, b"b" * 1024], results.append).result(5)
    first, second = bytearray(1024), bytearray(512)
    driver.aio_readv(3, [first, second], results.append).result(5)
    assert (bytes(first), bytes(second)) == (b"a" * 512 + b"b" * 512, b"b" * 512)
    driver.flush(results.append).result(5)
    assert results == [0, 0, 0]


def test_a_callback_never_runs_inside_of_the_call(driver: QbdDriver) -> None:
    threads = []
    future = driver.aio_readv(0, [bytearray(512)], lambda _: threads.append(threading.get_ident()))
    future.result(5)
    assert threads
    assert threads[0] != threading.get_ident()


def test_errors_arrive_as_negative_errno(driver: QbdDriver, pool: MemoryPool) -> None:
    results: list[int] = []
    driver.aio_writev(2048, [b"x" * 512], results.append).result(5)
    driver.aio_readv(2048, [bytearray(512)], results.append).result(5)
    assert results == [-errno.ENOSPC, -errno.EINVAL]
    assert driver.create({"volume": "pool/other"}, 4096) == 0
    assert "pool/other" in pool.list()


def test_a_resize_is_seen_by_getlength(driver: QbdDriver, pool: MemoryPool) -> None:
    assert driver.getlength() == 1 << 20
    pool.resize("pool/vol", 12345)
    assert driver.getlength() == 12345


def test_a_snapshot_and_a_read_only_volume_refuse_writes(
    driver: QbdDriver, pool: MemoryPool
) -> None:
    pool.snapshot("pool/vol", "s")
    for options in (
        QbdDriver.parse_filename("qbd:pool/vol@s"),
        QbdDriver.parse_filename("qbd:pool/vol:read-only=on"),
    ):
        other = QbdDriver(pool)
        results: list[int] = []
        other.file_open(options)
        other.aio_writev(0, [b"x" * 512], results.append).result(5)
        other.close()
        assert results == [-errno.EPERM]


def test_block_sizes_come_from_the_volume_or_from_the_options() -> None:
    pool = MemoryPool(VolumeOptions(block_sizes=(4096, 65536, 1 << 20)), [("p/v", 1 << 20)])
    for filename, sizes in (
        ("qbd:p/v", BlockSizes(65536, 4096)),
        ("qbd:p/v:logical_block_size=512:physical_block_size=4096", BlockSizes(4096, 512)),
    ):
        driver = QbdDriver(pool)
        driver.file_open(QbdDriver.parse_filename(filename))
        assert driver.probe_blocksizes() == sizes
        driver.close()


def test_opening_a_missing_volume_fails(pool: MemoryPool) -> None:
    with pytest.raises(VolumeNotFound):
        QbdDriver(pool).file_open({"volume": "pool/none"})
