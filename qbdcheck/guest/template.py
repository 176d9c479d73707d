"""Guests that were booted once and saved: to start one takes a second instead of four.

The RAM is a file that QEMU maps; the rest of the state is 0.4 MB (migration capability
x-ignore-shared). Who starts from it maps the file privately, so that many may at the same time.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from qbdcheck import clock
from qbdcheck.errors import ProgramError
from qbdcheck.guest.guest import MEMORY_MIB, Guest
from qbdcheck.guest.image import GuestImage
from qbdcheck.programs.installed import Programs

_VERSION = 3
_WARM = (
    "modprobe -a virtio_scsi sd_mod xfs dm_mod dm_flakey dm_log_writes",
    "fio --version && mke2fs -V && e2fsck -V && mkfs.xfs -V && dmsetup version",
    "sync && dd --version > /dev/null",
)
"""So that modules are there, and programs in the page cache."""
_SAVE_S = 60.0


@dataclass(frozen=True)
class Template:
    """A saved guest.

    :ivar boot_s: seconds that it took to boot; ``start_s``: to start from the template, when it
        was made.
    """

    directory: Path
    boot_s: float
    start_s: float


def template(
    programs: Programs, image: GuestImage, place: Path, accelerator: str = "tcg"
) -> Template:
    """Return a template for this guest and this QEMU; it is made once.

    :raise GuestFailed: the guest does not boot.
    """
    path = Path(programs.path("qemu-system-x86_64") or "")
    stat = path.stat()
    words = (image.key, str(path), str(stat.st_mtime_ns), str(stat.st_size), str(_VERSION))
    key = hashlib.sha256("\0".join((*words, accelerator)).encode()).hexdigest()[:12]
    directory = place / f"template-{key}"
    with (place / "template.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (directory / "facts").exists():
            for old in place.glob("template-*"):
                shutil.rmtree(old, ignore_errors=True)
            _make(programs, image, directory, accelerator)
        facts = json.loads((directory / "facts").read_text(encoding="ascii"))
    return Template(directory, facts["boot_s"], facts["start_s"])


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
        end_s = clock.now_s() + _SAVE_S
        while (status := machine.qmp("query-migrate").get("status")) != "completed":
            if status in {"failed", "cancelled"} or clock.now_s() > end_s:
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
