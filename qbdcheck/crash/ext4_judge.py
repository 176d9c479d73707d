"""Judges an ext4 file system after a crash: fsck mends nothing, files are there as promised."""

from __future__ import annotations

import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path

from xxhash import xxh3_64_intdigest

from qbdcheck.programs.process import Completed, run

_TIMEOUT_S = 30.0
_USUAL = re.compile(
    r"recovering journal|^Pass \d|^e2fsck |^$|files \(.*non-contiguous"
    r"|orphan(ed)? (inode|list|file)|Setting free (blocks|inodes) count"
    r"|FILE SYSTEM WAS MODIFIED|^Free (blocks|inodes) count wrong|^Fix\? yes"
    r"|was not cleanly unmounted",
    re.IGNORECASE,
)
"""What e2fsck says of a file system that was merely cut off: counts in the superblock are only
written at unmount, orphans are files that were deleted while open (e2fsck(8); ext4, journal)."""


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

    def judge(self, limit: int, files: dict[str, bytes]) -> str:
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


class Ext4Judge:
    """e2fsck with the journal's recovery, then all files by debugfs.

    :param directory: of the worker.
    """

    changes_the_file = True

    def __init__(self, directory: Path, history: FileHistory) -> None:
        self._files = directory / "files"
        self._known: dict[int, dict[str, bytes]] = {}
        self._history = history

    def check(self, image: memoryview, path: Path, limit: int) -> str:
        """Judge a state (as `qbdcheck.crash.explorer.Judge`)."""
        done = self._run("e2fsck", "-fy", path)
        lines = [line for line in done.stdout.splitlines() if not _USUAL.search(line.strip())]
        names = (f"{path}:", f"{path.name}:")
        problems = [line for line in lines if not line.startswith(names)]
        if done.returncode not in (0, 1) or problems:
            said = (problems or done.stderr.strip().splitlines() or ["no words"])[0]
            return f"e2fsck ended with {done.returncode}: {said.strip()}"
        recovered = xxh3_64_intdigest(image)  # many states recover to the same file system
        if recovered not in self._known:
            self._known[recovered] = self._read(path)
        return self._history.judge(limit, self._known[recovered])

    def _read(self, path: Path) -> dict[str, bytes]:
        shutil.rmtree(self._files, ignore_errors=True)
        self._files.mkdir()
        self._run("debugfs", "-R", f"rdump / {self._files}", path)
        found = {
            str(file.relative_to(self._files)): file.read_bytes()
            for file in self._files.rglob("*")
            if file.is_file()
        }
        return {name: data for name, data in found.items() if not name.startswith("lost+found")}

    def _run(self, *words: str | Path) -> Completed:
        return run(words, cwd=self._files.parent, timeout_s=_TIMEOUT_S, check=False)
