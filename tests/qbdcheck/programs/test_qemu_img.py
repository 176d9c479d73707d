"""qemu-img with objects, such as the secret of an encrypted image."""

from __future__ import annotations

from pathlib import Path

import pytest

from qbdcheck.errors import NotRun
from qbdcheck.programs.installed import Programs
from qbdcheck.programs.luks_clock import until_measured
from qbdcheck.programs.qemu_img import QemuImg

SECRET = "secret,id=s,data=abc"


def test_a_command_that_takes_no_objects_is_not_run_where_a_disk_needs_one(tmp_path: Path) -> None:
    qemu_img = QemuImg(Programs({}), tmp_path)
    qemu_img("create", "-q", "-f", "raw", "disk", "1M")
    qemu_img("bench", "-q", "-f", "raw", "-c", "1", "disk")
    qemu_img.objects.append(SECRET)
    luks = ("create", "-q", "-f", "luks", "-o", "key-secret=s,iter-time=10", "image", "1M")
    until_measured(lambda: qemu_img.run(*luks))
    with pytest.raises(NotRun, match="qemu-img bench takes no --object, which this disk needs"):
        qemu_img("bench", "-q", "image")
