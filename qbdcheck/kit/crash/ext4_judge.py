"""Judge an ext4 file system after a crash: e2fsck repairs nothing, and promised files exist."""

from __future__ import annotations

import mmap
import re
from collections.abc import Mapping
from pathlib import Path

from xxhash import xxh3_64_intdigest

from oracles.damage import Damage
from oracles.ext4 import Ext4, Ext4Error
from oracles.finding import Findings, reported
from qbdcheck.kit.crash.file_history import FilePromises
from qbdcheck.programs.process import run_brief

_TIMEOUT_S = 30.0
_ENVIRONMENT = {"E2FSPROGS_FAKE_TIME": "2000000000"}
"""The time that e2fsck writes, so that equal states give equal file systems."""
_USUAL = re.compile(
    r"recovering journal|^Pass \d|^e2fsck |^$|files \(.*non-contiguous"
    r"|orphan(ed)? (inode|list|file)|Setting free (blocks|inodes) count"
    r"|FILE SYSTEM WAS MODIFIED|^Free (blocks|inodes) count wrong|^Fix\? yes"
    r"|was not cleanly unmounted",
    re.IGNORECASE,
)
"""Messages of e2fsck that are normal without an unmount: counts in the superblock are written at
unmount only, and orphans are files that were deleted while open (e2fsck(8); ext4, journal)."""


class Ext4Judge:
    """Recovers the journal by e2fsck, then compares the files in the image.

    :param history: the promises for the files.
    """

    changes_the_file = True

    def __init__(self, history: FilePromises) -> None:
        self._known: dict[tuple[int, str], Mapping[str, bytes | None]] = {}
        self._history = history

    def check(self, image: memoryview, path: Path, limit: int) -> Findings:
        """Judge a state (as `qbdcheck.kit.crash.explorer.Judge`)."""
        done = run_brief(["e2fsck", "-fy", path], timeout_s=_TIMEOUT_S, env=_ENVIRONMENT)
        lines = [line for line in done.stdout.splitlines() if not _USUAL.search(line.strip())]
        names = (f"{path}:", f"{path.name}:")
        problems = [line for line in lines if not line.startswith(names)]
        if done.returncode not in (0, 1) or problems:
            problem = (problems or done.stderr.strip().splitlines() or ["no output"])[0]
            text = f"e2fsck ended with {done.returncode}: {problem.strip()}"
            return reported(Damage.METADATA, text)
        directory = self._history.directory(limit)
        key = xxh3_64_intdigest(image), directory  # many states recover to the same file system
        if key not in self._known:
            try:
                self._known[key] = Ext4(image).tree(directory)
            except Ext4Error as error:
                return reported(Damage.METADATA, f"the files cannot be read: {error}")
        return reported(Damage.FILE, self._history.judge(limit, self._known[key]))


def judge_file(history: FilePromises, path: Path, limit: int) -> str:
    """Judge the image in a file, which e2fsck may change; "" if it is right."""
    with path.open("r+b") as file:
        image = memoryview(mmap.mmap(file.fileno(), 0))
        return str(Ext4Judge(history).check(image, path, limit))
