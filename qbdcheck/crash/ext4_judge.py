"""Judges an ext4 file system after a crash: fsck mends nothing, files are there as promised."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

from xxhash import xxh3_64_intdigest

from qbdcheck.crash.file_history import FileHistory
from qbdcheck.programs.process import Completed, run_brief

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

    @staticmethod
    def _run(*words: str | Path) -> Completed:
        return run_brief(words, timeout_s=_TIMEOUT_S)
