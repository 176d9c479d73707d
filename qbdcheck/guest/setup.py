"""What the guests of a run start from: the image, the accelerator and the template.

The accelerator is KVM if a probe guest really runs under it and the guest itself boots. /dev/kvm
alone proves little on nested and sandboxed hosts. The finding is kept until the host boots again.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from blockio.sizes import format_size
from qbdcheck.errors import ProgramError
from qbdcheck.guest.image import GuestImage, guest_image
from qbdcheck.guest.template import Template, template
from qbdcheck.options import CustomGuest
from qbdcheck.programs.accelerator import probe_accelerator
from qbdcheck.programs.installed import Programs

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class GuestSetup:
    """The files and settings from which guests start.

    :ivar template: None for a custom guest, which boots each time.
    :ivar reason: why the accelerator is TCG; "" for KVM.
    """

    image: GuestImage | CustomGuest
    template: Template | None
    accelerator: str
    reason: str = ""

    def __str__(self) -> str:
        """Return a line for the header of a run: accelerator, size, and times to start."""
        facts = [format_size(self.image.size, 0)]
        if self.template is not None:
            facts.append(f"boots in {self.template.boot_s:.1f} s")
            facts.append(f"starts from its template in {self.template.start_s:.1f} s")
        else:
            facts.append("yours, booted by each case")
        return f"{self.accelerator.upper()}{f' ({self.reason})' * bool(self.reason)}, " + ", ".join(
            facts
        )


def guest_setup(programs: Programs, cache_dir: Path, own: CustomGuest | None = None) -> GuestSetup:
    """Return what guests start from, and make it if it is not in the cache: about a minute.

    :raise NotRun: the guest cannot be made here.
    :raise CaseBroken: it could be made here, but that failed.
    :raise GuestFailed: the guest does not boot.
    """
    place = cache_dir / "guest"
    place.mkdir(parents=True, exist_ok=True)
    accelerator, reason = _accelerator(programs, place)
    if own is not None:
        return GuestSetup(own, None, accelerator, reason)
    image = guest_image(cache_dir)
    if accelerator == "kvm":
        try:
            made = template(programs, image, image.kernel.parent, "kvm")
            return GuestSetup(image, made, "kvm")
        except ProgramError as error:
            reason = str(error).partition("\n")[0]
            _keep(programs, place, "tcg", reason)
    return GuestSetup(image, template(programs, image, image.kernel.parent), "tcg", reason)


def _accelerator(programs: Programs, place: Path) -> tuple[str, str]:
    try:
        kept = json.loads((place / "accelerator").read_text(encoding="utf-8"))
        if kept["of"] == _found_with(programs):
            return kept["name"], kept["reason"]
    except (OSError, ValueError, LookupError, TypeError):
        pass
    probe = probe_accelerator("kvm")
    name, reason = ("kvm", "") if probe.works else ("tcg", f"no KVM: {probe.reason}")
    _keep(programs, place, name, reason)
    return name, reason


def _keep(programs: Programs, place: Path, name: str, reason: str) -> None:
    found = {"name": name, "reason": reason, "of": _found_with(programs)}
    new = place / f"accelerator.{os.getpid()}"
    new.write_text(json.dumps(found), encoding="utf-8")
    new.rename(place / "accelerator")


def _found_with(programs: Programs) -> list[str]:
    path = programs.path("qemu-system-x86_64") or ""
    changed = Path(path).stat().st_mtime_ns if path else 0
    return [_BOOT_ID.read_text(encoding="ascii").strip(), str(path), str(changed)]
