"""The flags of the pages of a volume's file."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.kit import page_cache
from qbdcheck.kit.page_cache import PAGE, dirty_pages, has_data, needs_flags, others, raw_file

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root reads /proc/kpageflags")


@needs_root
def test_pages_are_dirty_until_fsync(tmp_path: Path) -> None:
    needs_flags(tmp_path)
    with (tmp_path / "volume").open("w+b") as file:
        file.truncate(16 * PAGE)
        os.fsync(file.fileno())
        os.pwrite(file.fileno(), b"x" * (PAGE + 1), 4 * PAGE)
        path = Path(file.name)
        assert dirty_pages(path, 0, 16 * PAGE) == dirty_pages(path, 4 * PAGE, PAGE + 1) == 2
        assert dirty_pages(path, 4 * PAGE + 7, 1) == 1
        assert dirty_pages(path, 0, 4 * PAGE) == 0
        os.fdatasync(file.fileno())
        assert dirty_pages(path, 0, 16 * PAGE) == 0


@needs_root
def test_file_system_without_a_disk_is_not_judged() -> None:
    if not Path("/dev/shm").is_dir():
        pytest.skip("no /dev/shm")
    with pytest.raises(NotRun, match="does not show which pages are on the disk"):
        needs_flags(Path("/dev/shm"))
    assert not Path("/dev/shm/page-flags").exists()


def test_user_without_the_flags_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(page_cache, "_word", lambda path, index: page_cache._PRESENT)
    with pytest.raises(NotRun, match="run it as root"):
        needs_flags(tmp_path)
    assert not list(tmp_path.iterdir())


def test_raw_file_is_found_by_its_data(tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"data")
    (tmp_path / "sub").mkdir()
    volume = tmp_path / "sub" / "volume"
    volume.write_bytes(bytes(100) + b"data")
    assert raw_file(tmp_path, 100, b"data") == volume
    assert others(tmp_path, volume).keys() == {tmp_path / "log"}
    with pytest.raises(NotRun, match="no raw file of the volume"):
        raw_file(tmp_path, 99, b"data")


def test_journal_in_another_directory_counts(tmp_path: Path) -> None:
    (tmp_path / "volumes").mkdir()
    volume = tmp_path / "volumes" / "volume"
    volume.write_bytes(b"data")
    journal = tmp_path / "journal"
    argv = [sys.executable, "-c", f"f = open({str(journal)!r}, 'w'); print(1, flush=True); input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as server:
        assert server.stdout is not None
        server.stdout.readline()
        before = others(volume.parent, volume, server.pid)
        assert before.keys() == {journal}
        journal.write_bytes(b"more")
        assert others(volume.parent, volume, server.pid) != before
        server.communicate(b"\n")
    assert others(volume.parent, volume, server.pid) == {}


def test_a_file_has_data_at_its_place_alone(tmp_path: Path) -> None:
    file = tmp_path / "volume"
    file.write_bytes(bytes(PAGE) + b"data")
    assert has_data(file, PAGE, b"data")
    assert not has_data(file, PAGE - 1, b"data")
    assert not has_data(file, PAGE, b"data of a longer file")
    assert not has_data(file, 2 * PAGE, b"data")
