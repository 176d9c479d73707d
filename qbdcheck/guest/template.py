"""Guests that were booted once and saved: starting from one takes a second instead of four.

The RAM is a file that QEMU maps; the rest of the state is 0.4 MB (migration capability
x-ignore-shared). A guest that starts from it maps the file privately, so many can do so at once.
Each QEMU and accelerator has a template of its own.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from qbdcheck import clock
from qbdcheck.errors import ProgramError
from qbdcheck.guest.guest import Guest
from qbdcheck.guest.image import GuestImage
from qbdcheck.guest.machine_arguments import MEMORY_MIB
from qbdcheck.machine_speed import Limit
from qbdcheck.programs.installed import Programs

_VERSION = 3
_WARM = (
    "modprobe -a virtio_scsi sd_mod xfs dm_mod dm_flakey dm_log_writes",
    "fio --version && mke2fs -V && e2fsck -V && mkfs.xfs -V && dmsetup version",
    "sync && dd --version > /dev/null",
)
"""Commands that load modules, and programs into the page cache, before the guest is saved."""
_SAVE_S = 60.0
_UNUSED_S = 7 * 86400.0
"""A template that no run used for so long is removed: it takes half a GB."""
_FILES = ("facts", "ram", "state")


@dataclass(frozen=True)
class Template:
    """A saved guest.

    :ivar boot_s: seconds that the guest took to boot.
    :ivar start_s: seconds that a guest took to start from the template when it was made.
    """

    directory: Path
    boot_s: float
    start_s: float


def template(
    programs: Programs, image: GuestImage, place: Path, accelerator: str = "tcg"
) -> Template:
    """Return a template for this guest and this QEMU, and make it if it is not there or damaged.

    :raise GuestFailed: the guest does not boot.
    """
    path = Path(programs.path("qemu-system-x86_64") or "")
    stat = path.stat()
    arguments = (image.key, str(path), str(stat.st_mtime_ns), str(stat.st_size), str(_VERSION))
    key = hashlib.sha256("\0".join((*arguments, accelerator)).encode()).hexdigest()[:12]
    directory = place / f"template-{key}"
    with (place / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not all((directory / name).exists() for name in _FILES):
            _forget_unused(place)
            _make(programs, image, directory, accelerator)
        os.utime(directory)
        facts = json.loads((directory / "facts").read_text(encoding="ascii"))
    return Template(directory, facts["boot_s"], facts["start_s"])


def _forget_unused(place: Path) -> None:
    """Remove old templates, of a QEMU that is no longer used, and what an interrupted run left."""
    for other in place.glob("template-*"):
        old = clock.wall_s() - other.stat().st_mtime > _UNUSED_S
        if other.is_dir() and (old or other.suffix == ".new"):
            shutil.rmtree(other, ignore_errors=True)


def _make(programs: Programs, image: GuestImage, directory: Path, accelerator: str) -> None:
    work = directory.with_suffix(".new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    ram = f"memory-backend-file,id=ram,size={MEMORY_MIB}M,mem-path={work / 'ram'},share=on"
    guest = Guest(programs, work, image, name="t", ram=ram, accelerator=accelerator)
    try:
        guest.start()
        for command in _WARM:
            guest.run(command)
        machine = guest.machine
        machine.execute("stop")
        capability = {"capability": "x-ignore-shared", "state": True}
        machine.execute("migrate-set-capabilities", {"capabilities": [capability]})
        machine.execute("migrate", {"uri": f"exec:cat > '{work / 'state'}'"})
        limit = Limit(_SAVE_S)
        while (status := machine.qmp("query-migrate").get("status")) != "completed":
            if status in {"failed", "cancelled"} or limit.is_over:
                raise ProgramError(f"the template was not saved: {status}", [], None)
            clock.pause(0.01)
    finally:
        guest.kill()
    first = Guest(programs, work, image, name="first", template=work, accelerator=accelerator)
    try:
        first.start()
    finally:
        first.kill()
    facts = {"boot_s": round(guest.ready_s, 2), "start_s": round(first.ready_s, 2)}
    (work / "facts").write_text(json.dumps(facts), encoding="ascii")
    shutil.rmtree(directory, ignore_errors=True)
    work.rename(directory)
