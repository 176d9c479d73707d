"""What was promised of the files of a file system, and what may be there after a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol


class FilePromises(Protocol):
    """What a user of a file system was promised."""

    @property
    def acknowledged(self) -> list[int]:
        """For each promise, how many entries the log had when it was kept."""
        ...

    def directory(self, limit: int) -> str:
        """Return the directory whose files are judged, from the root, "" for all."""
        ...

    def judge(self, limit: int, files: Mapping[str, bytes | None]) -> str:
        """Return what is wrong with the files of that directory, "" if nothing is.

        :param limit: so many entries of the log may have been answered.
        :param files: by their paths below the directory; None for directories.
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
    """What was done to the files of a file system, one after another.

    ``begun`` and ``answered``: how many entries the log had before, and when it was durable.
    """

    promises: list[_Promise] = field(default_factory=list)

    def durable(self, name: str, content: bytes | None, begun: int, answered: int) -> None:
        """A file was given its whole content (None: it was removed), durably."""
        self.promises.append(_Promise(name, content, begun, answered))

    @property
    def acknowledged(self) -> list[int]:
        """For each promise, how many entries the log had when it was kept."""
        return sorted(promise.answered for promise in self.promises)

    def at(self, positions: Sequence[int]) -> FileHistory:
        """Return it with other moments: number N becomes the N-th position."""
        moved = [
            replace(one, begun=positions[one.begun], answered=positions[one.answered])
            for one in self.promises
        ]
        return FileHistory(moved)

    def directory(self, limit: int) -> str:  # noqa: ARG002
        """All files are looked at."""
        return ""

    def judge(self, limit: int, files: Mapping[str, bytes | None]) -> str:
        """Return what is wrong with the files that are there."""
        for name in dict.fromkeys(promise.name for promise in self.promises):
            history = [one for one in self.promises if one.name == name]
            kept = [one for one in history if one.answered <= limit]
            later = [one for one in history if one.answered > limit and one.begun <= limit]
            seen = files.get(name)
            permitted = {kept[-1].content if kept else None, *(one.content for one in later)}
            if seen in permitted or (later and seen is not None and not _atomic(later[0], kept)):
                continue
            owed = kept[-1].content if kept else None
            return f"{name}: {_words(seen)}, {_words(owed)} was durable"
        return ""


def _atomic(change: _Promise, kept: list[_Promise]) -> bool:
    """Say whether a change is all or nothing: replacing a file by rename, and removing one, are."""
    return (bool(kept) and kept[-1].content is not None) or change.content is None


def _words(content: bytes | None) -> str:
    return "no such file" if content is None else f"{len(content)} bytes {content[:12]!r}"
