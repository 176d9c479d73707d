"""Which parts of a volume's file are only in the page cache of the machine.

A server that is killed leaves its written data in the page cache, so a kill does not show whether a
flush reaches the disk. The flags of the pages do: /proc/kpageflags has a bit for each page that is
dirty (Documentation/admin-guide/mm/pagemap.rst of the kernel). Only root reads it.
"""

from __future__ import annotations

import contextlib
import ctypes
import mmap
import os
import stat
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path

import psutil

from qbdcheck.errors import NotRun

PAGE = mmap.PAGESIZE
_STANDARD = 2
"""The number of standard error, the last of the standard streams."""
_DIRTY = 1 << 4
_PRESENT, _FRAME = 1 << 63, (1 << 55) - 1
_WORD = struct.Struct("Q")
_Changes = Mapping[Path, tuple[int, int]]


def dirty_pages(path: Path, offset: int, length: int) -> int:
    """Return how many pages of a range of a file have data that the disk does not have.

    :param offset: in bytes. :param length: in bytes, at least 1.
    :raise NotRun: this process may not read the flags of pages.
    """
    start = offset // PAGE * PAGE
    size = offset + length - start
    with (
        path.open("r+b") as file,
        mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE, offset=start) as pages,
    ):
        address = ctypes.addressof(ctypes.c_char.from_buffer(pages))
        sum(pages[at] for at in range(0, size, PAGE))  # reads map each page
        return sum(
            bool(_word("/proc/kpageflags", frame) & _DIRTY)
            for frame in _frames(address, -(-size // PAGE))
        )


def _frames(address: int, count: int) -> list[int]:
    """Return the page frames behind addresses of this process."""
    entries = [_word("/proc/self/pagemap", address // PAGE + page) for page in range(count)]
    frames = [entry & _FRAME for entry in entries if entry & _PRESENT]
    if not all(frames):
        raise NotRun("this user may not read the flags of pages (/proc/kpageflags): run it as root")
    return frames


def _word(path: str, index: int) -> int:
    try:
        with Path(path).open("rb", buffering=0) as file:
            file.seek(index * _WORD.size)
            return int(_WORD.unpack(file.read(_WORD.size))[0])
    except (OSError, struct.error):
        raise NotRun(f"this user or kernel has no {path}, which has the flags of pages") from None


def needs_flags(directory: Path) -> None:
    """Check that the flags of pages tell what is on the disk, for files of a directory.

    :raise NotRun: they do not: another user than root, or a file system without a disk.
    """
    file = directory / "page-flags"
    try:
        with file.open("wb") as probe:
            probe.write(bytes(PAGE))
            probe.flush()
            before = dirty_pages(file, 0, PAGE)
            os.fsync(probe.fileno())
            after = dirty_pages(file, 0, PAGE)
    finally:
        file.unlink(missing_ok=True)
    if (before, after) != (1, 0):
        raise NotRun(f"the file system of {directory} does not show which pages are on the disk")


def raw_file(directory: Path, offset: int, data: bytes) -> Path:
    """Return the file of a directory that has data at the same offset as the volume.

    :raise NotRun: there is none: the target keeps its volumes elsewhere, or not as raw files.
    """
    for path in sorted(directory.rglob("*")):
        if path.is_file() and has_data(path, offset, data):
            return path
    raise NotRun("the target has no raw file of the volume in its directory")


def has_data(path: Path, offset: int, data: bytes) -> bool:
    """Return whether a file has data at an offset, in bytes."""
    with path.open("rb") as file:
        file.seek(offset)
        return file.read(len(data)) == data


def others(directory: Path, file: Path, server: int | None = None) -> _Changes:
    """Return the sizes and times of other files that may have the data, to see whether they change.

    :param directory: of the volume. :param file: the raw file of the volume.
    :param server: the process id of the server, whose open files count too: it may keep a journal
        in another directory. Its standard output does not count.
    :raise NotRun: it has a device open. What that has cannot be seen.
    """
    found = {path for path in directory.rglob("*") if path.is_file()}
    if server is not None:
        found |= set(_open_files(server))
    return {
        path: (path.stat().st_size, path.stat().st_mtime_ns)
        for path in found
        if path.is_file() and not path.samefile(file)
    }


def _open_files(server: int) -> Iterator[Path]:
    """Yield the files that a server and its descendants have open."""
    try:
        known = psutil.Process(server)
        processes = [known, *known.children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in processes:
        for link in Path(f"/proc/{process.pid}/fd").glob("*"):
            if int(link.name) <= _STANDARD:
                continue
            with contextlib.suppress(FileNotFoundError):
                mode = link.stat().st_mode
                if stat.S_ISBLK(mode):
                    raise NotRun(f"the server has {link.readlink()} open, which may have the data")
                if stat.S_ISREG(mode):
                    yield link.readlink()
