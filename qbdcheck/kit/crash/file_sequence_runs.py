"""Run all short sequences of file operations on a disk, and explore their crash states."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from oracles.crash_states.families import Bounds
from qbdcheck.kit.crash.explorer import Exploration, Judge
from qbdcheck.kit.crash.ext4_image import make_ext4
from qbdcheck.kit.crash.ext4_judge import Ext4Judge
from qbdcheck.kit.crash.file_sequences import FILES, SequenceHistory, sequences
from qbdcheck.kit.crash.logged_image import LoggedImage
from qbdcheck.kit.crash.xfs_judge import XfsJudge
from qbdcheck.kit.guests import Guests
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.targets.disk import Disk

_MARKS = 64 << 10
"""Bytes at the end of the disk behind the file system."""


class SequenceRun:
    """The log of a run of sequences."""

    def __init__(
        self,
        logged: LoggedImage,
        history: SequenceHistory,
        make_judge: Callable[[Path], Judge],
    ) -> None:
        self._logged = logged
        self._make_judge = make_judge
        self.history = history
        self.log = history.locate(logged.log())

    def explore(self, seed: int, **options: Any) -> Exploration:
        """Judge the crash states of the log, or of another log that is given."""
        defaults: dict[str, Any] = {"log": self.log, "acknowledged": self.history.acknowledged}
        defaults |= {"tear": 4096, "bounds": Bounds(subsets=8, chance=64)}
        return self._logged.explore(self._make_judge, seed, **defaults | options)


def run_on_ext4(  # noqa: PLR0917  # the fixtures, in one order in all cases
    disk: Disk,
    logged_image: Callable[..., LoggedImage],
    guest: Guests,
    qemu_img: QemuImg,
    scratch: Path,
    length: int,
) -> SequenceRun:
    """Run all sequences of a length in a guest on ext4; the other arguments are the fixtures."""
    some = list(sequences(length))
    begin = {**FILES, "B": None}
    files = {f"s{number}/{name}": begin[name] for number in range(len(some)) for name in begin}
    marks_at = disk.size - _MARKS
    make_ext4(disk, qemu_img, scratch, size=marks_at, files=files)
    logged = logged_image(disk)
    history = SequenceHistory(some, marks_at)
    system = guest(logged.blockdev())
    history.run(system, "-t ext4")
    system.kill()
    return SequenceRun(logged, history, lambda _: Ext4Judge(history))


def run_on_xfs(
    disk: Disk, logged_image: Callable[..., LoggedImage], guest: Guests, length: int
) -> SequenceRun:
    """Run all sequences of a length in a guest on xfs; the other arguments are the fixtures."""
    some = list(sequences(length))
    marks_at = disk.size - _MARKS
    system = guest(disk)
    path = system.disks[0].path
    # The options allow a file system below 300 MiB.
    system.run(f"mkfs.xfs -q -f --unsupported -s size=4096 -d agcount=2,size={marks_at} {path}"
               f" && mount -t xfs {path} /mnt && mkdir -p /tmp/s/A /tmp/s/B")  # fmt: skip
    for name, data in FILES.items():
        system.write_file(f"/tmp/s/{name}", data)
    system.run(f"n=0; while [ $n -lt {len(some)} ]; do cp -r /tmp/s /mnt/s$n || exit 1;"
               " n=$((n+1)); done; umount /mnt", 600)  # fmt: skip
    system.quit()
    logged = logged_image(disk)
    history = SequenceHistory(some, marks_at)
    system = guest(logged.blockdev())
    history.run(system, "-t xfs")
    system.kill()
    return SequenceRun(logged, history, lambda where: XfsJudge(where, guest.of_worker, history))
