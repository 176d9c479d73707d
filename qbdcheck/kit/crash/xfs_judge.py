"""Judge an xfs after a crash by Linux itself: a guest mounts it, which recovers its log.

One guest serves all states of a worker. Its disk is the worker's image file, which changes while
nothing is mounted.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

from xxhash import xxh3_64

from oracles.damage import Damage
from oracles.finding import Findings, reported
from qbdcheck.guest.guest import Guest
from qbdcheck.guest.quick_shell import QuickShell
from qbdcheck.kit.crash.file_history import FilePromises

_DISK = "crashed"
_WITHIN_S = 60.0
_XFS_BLOCK_SIZE_AT, _XFS_LOG_START_AT, _XFS_LOG_BLOCKS_AT = 4, 48, 96
"""Fields of the superblock, big-endian (fs/xfs/libxfs/xfs_format.h, struct xfs_dsb)."""


class XfsJudge(AbstractContextManager["XfsJudge"]):
    """Mounts, reads all files, unmounts; then xfs_repair, once for each different file system.

    :param directory: directory of the worker.
    :param start_guest: starts a guest in a directory.
    :param history: the promises for the files.
    """

    changes_the_file = True

    def __init__(
        self, directory: Path, start_guest: Callable[[Path], Guest], history: FilePromises
    ) -> None:
        self._history = history
        self._guest = start_guest(directory)
        self._shell = QuickShell(self._guest)
        self._disk = ""
        self._repaired: dict[int, str] = {}
        self.repairs = 0
        """Number of runs of xfs_repair."""

    def __exit__(self, *_: object) -> None:
        """End the guest."""
        self._guest.kill()

    def check(self, image: memoryview, path: Path, limit: int) -> Findings:
        """Judge a state (as `qbdcheck.kit.crash.explorer.Judge`)."""
        if not self._disk:
            node = {"driver": "file", "filename": str(path), "locking": "off"}
            self._disk = self._guest.attach({"driver": "raw", "file": node}, None, _DISK).path
        where = f"/mnt/{self._history.directory(limit)}"
        look = f"{{ cd {where}; tar cf - .; s=$?; cd /; umount /mnt && [ $s = 0 ]; }}"
        mount = f"mount -t xfs -o noatime {self._disk} /mnt"
        status, archive, errors = self._shell.run(f"{mount} && {look}", _WITHIN_S)
        if status:
            text = f"it cannot be mounted or read: {self._said(errors)}"
            return reported(Damage.METADATA, text)
        return reported(Damage.METADATA, self._repair(image)) or reported(
            Damage.FILE, self._history.judge(limit, _files(archive))
        )

    def _repair(self, image: memoryview) -> str:
        key = _key_without_log(image)
        if key not in self._repaired:
            self.repairs += 1
            status, output, errors = self._shell.run(f"xfs_repair -n {self._disk}", _WITHIN_S)
            lines = (output.decode(errors="replace") + errors).splitlines()
            problems = [line for line in lines if not line.lstrip().startswith(("-", "Phase"))]
            text = f"xfs_repair -n ended with {status}: {'; '.join(problems[:3])}"
            self._repaired[key] = text if status else ""
        return self._repaired[key]

    def _said(self, errors: str) -> str:
        kernel = [line for line in self._guest.console_lines() if "XFS" in line]
        return "; ".join([*errors.strip().splitlines()[:1], *kernel[-1:]])


def _key_without_log(image: memoryview) -> int:
    """Return a hash of an xfs without its log, which was recovered already."""

    def number(at: int, length: int) -> int:
        return int.from_bytes(image[at : at + length], "big")

    block = number(_XFS_BLOCK_SIZE_AT, 4)
    group_bits = image[124]  # sb_agblklog: blocks are numbered by group and place in it
    start = number(_XFS_LOG_START_AT, 8)
    group_blocks = number(84, 4)
    group, inside = start >> group_bits, start & ((1 << group_bits) - 1)
    begin = (group * group_blocks + inside) * block
    end = begin + number(_XFS_LOG_BLOCKS_AT, 4) * block
    found = xxh3_64(image[:begin])
    found.update(image[end:])
    return found.intdigest()


def _files(archive: bytes) -> dict[str, bytes | None]:
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        found: dict[str, bytes | None] = {}
        for member in tar:
            file = tar.extractfile(member)
            found[member.name.removeprefix("./")] = None if file is None else file.read()
        found.pop(".", None)
        return found
