"""Many small empty qcow2 images on one volume: one for each workload."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from qbdcheck.kit.crash.bounded_workloads import CLUSTER
from qbdcheck.kit.crash.explorer import Judge
from qbdcheck.kit.crash.logged_image import LoggedImage
from qbdcheck.kit.crash.qcow2_judge import Qcow2Judge
from qbdcheck.programs.blockdev import json_filename
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.qemu_img import QemuImg
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.disk_io import DiskIo

WINDOW = 512 << 10
GUEST = 128 << 10


class ImageRow:
    """A volume of ``count`` windows of 512 KiB, each with an image of 128 KiB.

    The arguments are the fixtures of the same names.
    """

    def __init__(  # noqa: PLR0917  # the fixtures, in one order in all cases
        self,
        new_disk: Callable[..., Disk],
        qemu_img: QemuImg,
        open_io: Callable[..., DiskIo],
        log_image: Callable[..., LoggedImage],
        programs: Programs,
        scratch: Path,
        count: int,
    ) -> None:
        template = scratch / "template"
        qemu_img("create", "-q", "-f", "qcow2", "-o", f"cluster_size={CLUSTER}",
                 template, str(GUEST))  # fmt: skip
        self._volume = new_disk(count * WINDOW, prefill=False)
        length = template.stat().st_size // 512 * 512
        name = json_filename(self._volume.protocol_blockdev())
        with open_io(name, cache="writeback") as io:
            for number in range(count):
                io(f"write -s {template.name} {number * WINDOW} {length}")
        self._log_image = log_image
        self._programs = programs
        self._verdicts: dict[int, str] = {}
        self._count = count

    def image(self, number: int) -> LoggedImage:
        """Return the image in a window.

        :raise IndexError: there are fewer images.
        """
        if number >= self._count:
            raise IndexError(f"there are {self._count} images")
        window = (number * WINDOW, WINDOW)
        return self._log_image(self._volume, window=window, size=GUEST, image_format="qcow2")

    def judge(self, logged: LoggedImage) -> Callable[[Path], Judge]:
        """Return a function that makes a judge; all images share the verdicts on metadata."""
        return lambda _: Qcow2Judge(self._programs, logged.promises, verdicts=self._verdicts)
