"""Files that fail, and file systems that lack a system call."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from blockio.errors import BlockError
from blockio.extents import STATE_HOLE, STATE_ZERO, Extent
from reference_backend.store import directory as directory_module
from reference_backend.store.directory import DirectoryStore, make
from reference_backend.store.sparse_file import SparseFile, copy_data

SIZE = 64 * 1024
UNSUPPORTED = [errno.EOPNOTSUPP, errno.ENOSYS]


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SparseFile]:
    opened = new_file(tmp_path / "file")
    yield opened
    opened.close()


def new_file(path: Path) -> SparseFile:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    os.ftruncate(descriptor, SIZE)
    return SparseFile(path, descriptor)


def failing(number: int) -> Callable[..., Any]:
    def fail(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


@pytest.mark.parametrize(
    "errors",
    [
        (errno.EIO, errno.EIO),
        (errno.ENOSPC, errno.ENOSPC),
        (errno.EDQUOT, errno.ENOSPC),
        (errno.ENOMEM, errno.EIO),
    ],
)
@pytest.mark.parametrize(
    ("function", "act"),
    [
        ("pread", lambda file: file.read(0, 10)),
        ("pwrite", lambda file: file.write(0, b"x")),
        ("ftruncate", lambda file: file.truncate(10)),
        ("lseek", lambda file: list(file.data(0, SIZE))),
    ],
)
def test_failures_become_errors_of_the_block_layer(
    file: SparseFile,
    monkeypatch: pytest.MonkeyPatch,
    function: str,
    act: Callable[[SparseFile], object],
    errors: tuple[int, int],
) -> None:
    number, seen = errors
    monkeypatch.setattr(os, function, failing(number))
    with pytest.raises(BlockError) as caught:
        act(file)
    assert caught.value.errno == seen
    assert str(file.path) in str(caught.value)


def test_a_size_that_the_file_system_cannot_have_is_enospc(
    file: SparseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "ftruncate", failing(errno.EINVAL))
    with pytest.raises(BlockError, match="too large") as caught:
        file.truncate(1 << 62)
    assert caught.value.errno == errno.ENOSPC


def test_short_reads_and_writes_are_continued(
    file: SparseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    pread, pwrite = os.pread, os.pwrite
    monkeypatch.setattr(os, "pwrite", lambda fd, data, at: pwrite(fd, bytes(data)[:7], at))
    file.write(3, b"0123456789abcdefghij")
    monkeypatch.setattr(os, "pread", lambda fd, length, at: pread(fd, min(length, 6), at))
    assert file.read(3, 20) == b"0123456789abcdefghij"
    assert file.read(SIZE - 10, 30) == bytes(30)


def test_a_read_that_fails_in_its_second_half_fails(
    file: SparseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pread(_fd: int, _length: int, offset: int) -> bytes:
        if offset:
            raise OSError(errno.EIO, "medium")
        return b"half"

    monkeypatch.setattr(os, "pread", pread)
    with pytest.raises(BlockError):
        file.read(0, 8)


@pytest.mark.parametrize("number", UNSUPPORTED)
@pytest.mark.parametrize("allocate", [False, True])
def test_without_fallocate_zeroes_are_written(
    file: SparseFile, monkeypatch: pytest.MonkeyPatch, number: int, allocate: bool
) -> None:
    monkeypatch.setattr(SparseFile, "_allocate", failing(number))
    file.write(0, b"x" * SIZE)
    file.zero(100, SIZE - 200, allocate)
    assert file.read(0, SIZE) == b"x" * 100 + bytes(SIZE - 200) + b"x" * 100
    assert not file.is_zero_fast(allocate)


def test_without_fallocate_zeroing_is_probed_to_be_slow(
    file: SparseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SparseFile, "_allocate", failing(errno.EOPNOTSUPP))
    assert not file.is_zero_fast(True)


def test_a_failed_zeroing_is_not_retried_by_writing(
    file: SparseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SparseFile, "_allocate", failing(errno.EIO))
    with pytest.raises(BlockError) as caught:
        file.zero(0, 4096, False)
    assert caught.value.errno == errno.EIO


def test_without_seek_data_everything_is_data(
    file: SparseFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "lseek", failing(errno.EOPNOTSUPP))
    assert list(file.data(0, SIZE)) == [(0, SIZE)]


def test_without_fiemap_a_hole_is_a_hole(file: SparseFile, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fcntl, "ioctl", failing(errno.EOPNOTSUPP))
    assert list(file.status(0, SIZE)) == [Extent(SIZE, STATE_HOLE | STATE_ZERO)]


@pytest.mark.parametrize("number", [*UNSUPPORTED, errno.EXDEV])
def test_without_copy_file_range_bytes_are_copied(
    file: SparseFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(os, "copy_file_range", failing(number))
    file.write(8192, b"y" * 5000)
    target = new_file(tmp_path / "target")
    copy_data(file, target)
    assert target.read(0, SIZE) == file.read(0, SIZE)
    target.close()


def test_a_copy_that_fails_is_an_error(
    file: SparseFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "copy_file_range", failing(errno.ENOSPC))
    file.write(0, b"y" * 5000)
    target = new_file(tmp_path / "target")
    with pytest.raises(BlockError) as caught:
        copy_data(file, target)
    assert caught.value.errno == errno.ENOSPC
    target.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[DirectoryStore]:
    make(tmp_path, "v", SIZE)
    opened = DirectoryStore(tmp_path)
    opened.write(0, b"old" * 1000)
    yield opened
    opened.close()


def test_a_growth_that_is_not_recorded_is_taken_back(
    store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(DirectoryStore, "_save", failing_save)
        with pytest.raises(BlockError):
            store.resize(2 * SIZE)
    assert store.size == SIZE
    assert store.metadata.size == SIZE
    store.resize(2 * SIZE)
    assert store.size == 2 * SIZE


def failing_save(*_: object) -> None:
    raise BlockError(errno.ENOSPC, "metadata")


def test_a_snapshot_that_fails_leaves_nothing_behind(
    store: DirectoryStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, fault in (("_save", failing_save), ("copy_to", failing(errno.EIO))):
        with monkeypatch.context() as patch:
            patch.setattr(DirectoryStore, name, fault)
            with pytest.raises(BlockError):
                store.snapshot("s")
        assert store.snapshots() == []
        assert list((tmp_path / "snapshots").iterdir()) == []
    store.snapshot("s")
    snapshot = store.open_snapshot("s")
    assert snapshot.read(0, 3) == b"old"
    with pytest.raises(ValueError, match="a snapshot has no snapshots"):
        snapshot.snapshot("t")
    snapshot.close()


def test_a_reader_may_lock_a_volume_that_it_cannot_write(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path, "v", SIZE)
    DirectoryStore(tmp_path).close()
    real_open = os.open

    def read_only_medium(path: Any, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_RDWR:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        return real_open(path, flags, mode)

    monkeypatch.setattr(os, "open", read_only_medium)
    with pytest.raises(OSError, match="Read-only"):
        directory_module.locked(tmp_path, exclusive=True)
    directory_module.locked(tmp_path, exclusive=False).close()
