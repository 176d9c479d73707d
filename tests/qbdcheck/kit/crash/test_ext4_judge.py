"""ext4 after a crash, judged by e2fsck and by its files."""

import shutil
import subprocess
from pathlib import Path

import pytest

from qbdcheck.kit.crash.ext4_judge import Ext4Judge
from qbdcheck.kit.crash.file_history import FileHistory

NEEDS = pytest.mark.skipif(
    not (Path("/sbin/mke2fs").exists() or shutil.which("mke2fs")), reason="no e2fsprogs"
)


def history() -> FileHistory:
    history = FileHistory()
    history.durable("a", b"old", 0, 2)
    history.durable("a", b"new", 2, 4)
    history.durable("a", None, 4, 6)
    return history


@pytest.mark.parametrize(
    ("limit", "right"),
    [
        (0, {None, b"old", b"ol", b"new"}),  # on its way: any part of it, and we do not look
        (2, {b"old", b"new"}),
        (3, {b"old", b"new"}),
        (4, {b"new", None}),
        (6, {None}),
    ],
)
def test_files_are_old_or_new(limit: int, right: set[bytes | None]) -> None:
    for content in (None, b"ol", b"old", b"new"):
        files = {} if content is None else {"a": content}
        assert (history().judge(limit, files) == "") == (content in right), (limit, content)


@NEEDS
def test_a_file_system_is_judged_by_fsck_and_by_its_files(tmp_path: Path) -> None:
    source, image = tmp_path / "source", tmp_path / "image"
    source.mkdir()
    (source / "a").write_bytes(b"new")
    with image.open("wb") as file:
        file.truncate(4 << 20)
    make = ["/sbin/mke2fs", "-q", "-t", "ext4", "-b", "1024", "-d", str(source), str(image)]
    subprocess.run(make, check=True)
    judge = Ext4Judge(history())
    data = memoryview(image.read_bytes())
    assert judge.check(data, image, 4) == []
    assert str(judge.check(data, image, 6)) == "a: 3 bytes b'new', no such file was durable"
    broken = bytearray(data)
    broken[1024 : 1024 + 1024] = bytes(1024)
    broken[8193 * 1024 : 8194 * 1024] = bytes(min(1024, max(0, len(broken) - 8193 * 1024)))
    image.write_bytes(broken)
    assert str(judge.check(memoryview(broken), image, 4)).startswith("e2fsck ended with")
