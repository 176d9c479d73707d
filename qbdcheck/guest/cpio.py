"""Archives that the kernel unpacks when it boots (Linux, initramfs-buffer-format)."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from typing import NamedTuple

_TRAILER = "TRAILER!!!"


class Member(NamedTuple):
    """A file, a directory (``data`` is None) or a symbolic link (``link``). Root owns it."""

    name: str
    data: bytes | None = b""
    mode: int = 0o644
    link: str = ""


def directory(name: str) -> Member:
    """Return a member that is a directory."""
    return Member(name, None, 0o755)


def archive(members: Iterable[Member]) -> bytes:
    """Return a cpio archive in the newc format. A directory must come before its contents."""
    parts = [_entry(number, member) for number, member in enumerate(members, 1)]
    parts.append(_entry(0, Member(_TRAILER)))
    return b"".join(parts)


def _entry(number: int, member: Member) -> bytes:
    if member.link:
        kind, data = stat.S_IFLNK | 0o777, member.link.encode()
    elif member.data is None:
        kind, data = stat.S_IFDIR | member.mode, b""
    else:
        kind, data = stat.S_IFREG | member.mode, member.data
    name = member.name.encode() + b"\0"
    links = 2 if member.data is None else 1
    fields = (number, kind, 0, 0, links, 0, len(data), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08x" % field for field in fields)
    return _padded(head + name) + _padded(data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
