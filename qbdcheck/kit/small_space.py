"""A real limit of space: the volumes of a case on a file system of a few MiB.

The file system is a tmpfs in a mount namespace of this process (mount_namespaces(7)). Programs that
the case starts later see it. The kernel removes it with the last of them, for whatever reason they
end.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

from qbdcheck.errors import NotRun

_CLONE_NEWNS = 0x00020000
"""sched.h; os.unshare came with Python 3.12."""
_MS_REMOUNT, _MS_REC, _MS_PRIVATE = 0x20, 0x4000, 0x40000
"""sys/mount.h"""
_MORE = 64 << 20
"""Bytes of space for the artefacts of a case that failed."""


@contextlib.contextmanager
def limited_space(directory: Path, limit: int) -> Iterator[None]:
    """Put an empty file system of ``limit`` bytes over a directory, until the case ends.

    Use it before the first disk is made: it hides what is in the directory. At the end of the block
    the limit is raised, because a failure on a full file system would count as the harness's.

    :raise NotRun: not root, or a kernel that refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    path = bytes(directory)
    size = f"size={limit}".encode()
    _must(libc.unshare(_CLONE_NEWNS))
    # Not of "/": in a chroot that is often no mount point, and nothing can be changed there.
    private = bytes(_mount_point(directory))
    _must(libc.mount(b"none", private, None, _MS_REC | _MS_PRIVATE, None))
    _must(libc.mount(b"tmpfs", path, b"tmpfs", 0, size))
    os.chdir(directory)
    try:
        yield
    finally:
        _must(libc.mount(b"tmpfs", path, b"tmpfs", _MS_REMOUNT, f"size={limit + _MORE}".encode()))


def _mount_point(directory: Path) -> Path:
    """Return the mount that a directory is on; all below it belongs to it or has mounts there."""
    return next(one for one in (directory, *directory.parents) if os.path.ismount(one))


def _must(result: int) -> None:
    if result != 0:
        why = os.strerror(ctypes.get_errno())
        raise NotRun(f"cannot mount a small file system for the volume: {why}")
