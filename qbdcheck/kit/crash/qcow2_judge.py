"""Judge a qcow2 image after a crash: no corruption, and each sector of the guest old or new."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from oracles.crash_states.promises import Promises
from oracles.damage import Damage
from oracles.finding import Findings, reported
from oracles.qcow2 import Qcow2, Qcow2Error
from qbdcheck.programs.blockdev import file_node, json_filename, node, over
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.process import Completed, run_brief

_CLEAN = (0, 3)
"""Exit statuses of ``qemu-img check``: right, and leaks only (docs/tools/qemu-img.rst)."""
_TIMEOUT_S = 20.0


class Qcow2Judge:
    """Runs ``qemu-img check`` once for each different metadata, then compares the guest's data.

    :param promises: the permitted contents of the guest's disk.
    :param repairs: repair first, as QEMU does when it opens an image with lazy refcounts.
    :param verdicts: verdicts of qemu-img on known metadata, by `Qcow2.metadata_key`.
    :param data_at: offset of the external data file in the volume; the image is before it.
    """

    def __init__(
        self,
        programs: Programs,
        promises: Promises,
        *,
        repairs: bool = False,
        data_at: int | None = None,
        verdicts: dict[int, str] | None = None,
    ) -> None:
        self.changes_the_file = repairs
        self._programs = programs
        self._promises = promises
        self._repairs = repairs
        self._data_at = data_at
        self._verdicts = {} if verdicts is None else verdicts
        self.checks = 0
        """Number of runs of qemu-img."""

    def check(self, image: memoryview, path: Path, limit: int) -> Findings:
        """Judge a state (as `qbdcheck.kit.crash.explorer.Judge`)."""
        try:
            disk = self._disk(image)
            key = disk.metadata_key()
            if self._repairs:
                return self._check_repaired(image, path, limit)
            if key not in self._verdicts:
                self._verdicts[key] = self._qemu_img_check(path)
            checked = reported(Damage.METADATA, self._verdicts[key])
            return checked or self._contents(disk, limit)
        except Qcow2Error as error:
            return reported(Damage.METADATA, f"the image cannot be read: {error}")

    def _disk(self, image: memoryview) -> Qcow2:
        if self._data_at is None:
            return Qcow2(image)
        return Qcow2(image[: self._data_at], image[self._data_at :])

    def _check_repaired(self, image: memoryview, path: Path, limit: int) -> Findings:
        self._qemu_img(path, "-r", "all")
        checked = reported(Damage.METADATA, self._qemu_img_check(path))
        return checked or self._contents(self._disk(image), limit)

    def _contents(self, disk: Qcow2, limit: int) -> Findings:
        def read(offset: int, length: int) -> bytes:
            inside = max(0, min(length, disk.size - offset))
            return disk.read(offset, inside) if inside else b""

        findings = self._promises.judge(limit, read)
        findings.about = "the guest's data is wrong"
        return findings

    def _qemu_img_check(self, path: Path) -> str:
        done = self._qemu_img(path)
        if done.returncode in _CLEAN:
            return ""
        try:
            report = json.loads(done.stdout)
        except ValueError:
            return f"qemu-img check: {done.stderr.strip() or done.stdout.strip()}"
        errors = report.get("check-errors", 0)
        text = f"qemu-img check: {report.get('corruptions', 0)} corruptions"
        first = done.stderr.strip().partition("\n")[0]
        return f"{text}{f', {errors} errors' if errors else ''}; {first}"

    def _qemu_img(self, path: Path, *arguments: str) -> Completed:
        self.checks += 1
        image = file_node(path)
        if self._data_at is not None:
            window = {"size": self._data_at, "offset": 0}
            rest = {"offset": self._data_at}
            image = over(
                "qcow2",
                node("raw", None, file=file_node(path), **window),
                None,
                data_file=node("raw", None, file=file_node(path), **rest),
            )
        else:
            image = over("qcow2", image)
        argv = self._programs.argv(
            "qemu-img", "check", "--output=json", *arguments, json_filename(image)
        )
        return run_brief(argv, timeout_s=_TIMEOUT_S)


def qcow2_judge(
    programs: Programs, promises: Promises, **options: bool | int
) -> Callable[[Path], Qcow2Judge]:
    """Return a function that makes a judge in each worker."""
    return lambda _: Qcow2Judge(programs, promises, **options)  # type: ignore[arg-type]
