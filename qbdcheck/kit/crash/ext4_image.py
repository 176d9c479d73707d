"""Make an ext4 file system on a disk, without a guest."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from qbdcheck.programs.process import run
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.targets.disk import Disk


def make_ext4(
    disk: Disk,
    qemu_img: QemuImg,
    scratch: Path,
    *,
    size: int | None = None,
    files: Mapping[str, bytes | None] | None = None,
) -> None:
    """Make an ext4 with the smallest blocks and journal.

    :param size: bytes of the file system, by default the whole disk.
    :param files: contents by path; None for directories.
    """
    image, source = scratch / "ext4.image", scratch / "ext4.source"
    for name, data in (files or {}).items():
        path = source / name
        (path if data is None else path.parent).mkdir(parents=True, exist_ok=True)
        if data is not None:
            path.write_bytes(data)
    source.mkdir(exist_ok=True)
    with image.open("wb") as file:
        file.truncate(disk.size)
    blocks = (disk.size if size is None else size) // 1024
    command = ["mke2fs", "-q", "-t", "ext4", "-b", "1024", "-i", "2048", "-J", "size=1"]
    run([*command, "-d", source, "-F", image, str(blocks)])
    qemu_img("convert", "-n", "-f", "raw", "-O", "raw", image, disk.filename)
