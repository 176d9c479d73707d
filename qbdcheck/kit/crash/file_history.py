"""The promises for the files of a file system, and what a crash may leave of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol


class FilePromises(Protocol):
    """The promises to a user of a file system."""

    @property
    def acknowledged(self) -> list[int]:
        """For each promise, the number of log entries when it took effect."""
        ...

    def directory(self, limit: int) -> str:
        """Return the directory whose files are judged, from the root; "" for all."""
        ...

    def judge(self, limit: int, files: Mapping[str, bytes | None]) -> str:
        """Return what is wrong with the files of that directory; "" if nothing.

        :param limit: number of log entries that may have been answered.
        :param files: contents by path below the directory; None for directories.
        """
        ...


@dataclass(frozen=True)
class _Promise:
    name: str
    content: bytes | None
    begun: int
    answered: int


@dataclass
class FileHistory:
    """The changes of the files of a file system, in order.

    ``begun`` and ``answered``: number of log entries before the change, and when it was durable.
    """

    promises: list[_Promise] = field(default_factory=list)

    def durable(self, name: str, content: bytes | None, begun: int, answered: int) -> None:
        """Record that a file was replaced (None: removed), durably."""
        self.promises.append(_Promise(name, content, begun, answered))

    @property
    def acknowledged(self) -> list[int]:
        """For each promise, the number of log entries when it took effect."""
        return sorted(promise.answered for promise in self.promises)

    def at(self, positions: Sequence[int]) -> FileHistory:
        """Return a copy with other moments: number N becomes the N-th position."""
        moved = [
            replace(one, begun=positions[one.begun], answered=positions[one.answered])
            for one in self.promises
        ]
        return FileHistory(moved)

    def directory(self, limit: int) -> str:  # noqa: ARG002
        """Return "": all files are judged."""
        return ""

    def judge(self, limit: int, files: Mapping[str, bytes | None]) -> str:
        """Return what is wrong with the files; "" if nothing."""
        for name in dict.fromkeys(promise.name for promise in self.promises):
            history = [one for one in self.promises if one.name == name]
            kept = [one for one in history if one.answered <= limit]
            later = [one for one in history if one.answered > limit and one.begun <= limit]
            seen = files.get(name)
            permitted = {kept[-1].content if kept else None, *(one.content for one in later)}
            if seen in permitted or (later and seen is not None and not _atomic(later[0], kept)):
                continue
            owed = kept[-1].content if kept else None
            return f"{name}: {_described(seen)}, {_described(owed)} was durable"
        return ""


def _atomic(change: _Promise, kept: list[_Promise]) -> bool:
    """Return whether a change is atomic: a replacement by rename, or a removal."""
    return (bool(kept) and kept[-1].content is not None) or change.content is None


def _described(content: bytes | None) -> str:
    return "no such file" if content is None else f"{len(content)} bytes {content[:12]!r}"
