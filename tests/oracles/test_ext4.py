"""The ext4 reader agrees with debugfs on images that mke2fs made."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from random import Random

import pytest

from oracles.ext4 import Ext4, Ext4Error

pytestmark = pytest.mark.skipif(
    not (shutil.which("mke2fs") and shutil.which("debugfs")), reason="no e2fsprogs"
)


def made(directory: Path, *arguments: str) -> Path:
    image = directory / "image"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    source = str(directory / "source")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", *arguments, "-d", source, str(image)], check=True)
    return image


@pytest.mark.parametrize("arguments", [("-b", "1024"), ("-b", "4096"), ("-O", "^64bit,^dir_index")])
def test_it_reads_what_debugfs_reads(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    source, random = tmp_path / "source", Random(1)
    for number in range(300):
        directory = source / f"d{number % 7}" / ("deep" if number % 2 else "er")
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{'n' * (number % 90)}{number}").write_bytes(
            random.randbytes(random.choice((0, 1, 1000, 5000, 70_000)))
        )
    with (source / "holes").open("wb") as file:
        for at in range(0, 4 << 20, 300_000):  # more extents than an inode holds
            file.seek(at)
            file.write(b"here")
        file.truncate(5 << 20)
    image = made(tmp_path, *arguments)
    seen = Ext4(memoryview(image.read_bytes())).tree()
    dumped = tmp_path / "dumped"
    dumped.mkdir()
    subprocess.run(["debugfs", "-R", f"rdump / {dumped}", str(image)], check=True,
                   capture_output=True)  # fmt: skip
    for root in (source, dumped):
        assert seen == {
            str(path.relative_to(root)): path.read_bytes() if path.is_file() else None
            for path in root.rglob("*")
            if path.name != "lost+found"
        }
    part = Ext4(memoryview(image.read_bytes())).tree("d3/deep")
    assert part == {
        name.removeprefix("d3/deep/"): data
        for name, data in seen.items()
        if name.startswith("d3/deep/")
    }


def test_an_unsupported_image_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(Ext4Error, match="no ext4 superblock"):
        Ext4(memoryview(bytes(4096)))
    (tmp_path / "source").mkdir()
    (tmp_path / "source/file").write_bytes(bytes(1000))
    image = bytearray(made(tmp_path, "-b", "1024").read_bytes())
    with pytest.raises(Ext4Error, match="no directory gone"):
        Ext4(memoryview(image)).tree("gone")
    with pytest.raises(Ext4Error, match="is not a directory"):
        Ext4(memoryview(image)).tree("file")
