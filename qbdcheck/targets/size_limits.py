"""Which sizes of volumes a target can make: the step between sizes, zero, and huge sizes."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from blockio.sizes import format_size
from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.session import TargetSession

GRANULARITIES = (1, 512, 4096, 65536, 1 << 20, 4 << 20)
"""Steps between sizes that are tried, in bytes: bytes, sectors, pages, and extents of LVM."""
HUGE = (1 << 62, 100 << 40, 1 << 40)
"""Sizes that are tried as the largest, in bytes. They need thin allocation."""
_BASE = 8 << 20


@dataclass(frozen=True)
class SizeLimits:
    """The sizes that a target can make, in bytes.

    :ivar granularity: each size is a multiple of this; 0 if no probed size was made exactly.
    :ivar zero: whether a volume may have no bytes at all.
    :ivar largest: the largest probed size that the target made.
    """

    granularity: int = 1
    zero: bool = True
    largest: int = HUGE[0]

    def nearest(self, size: int) -> int:
        """Return the smallest size that the target can make and that is not below ``size``."""
        step = max(1, self.granularity)
        least = 0 if self.zero else step
        return max(least, -(-size // step) * step)

    def __str__(self) -> str:
        step = {0: "none exactly", 1: "any number of bytes"}.get(
            self.granularity, f"multiples of {self.granularity} bytes"
        )
        zero = "with" if self.zero else "without"
        return f"{step}, {zero} size 0, up to {format_size(self.largest)}"


def probe_sizes(session: TargetSession) -> SizeLimits:
    """Make volumes of several sizes, and return what the target can make."""
    granularity = next(
        # An odd multiple, so that no coarser step fits.
        (step for step in GRANULARITIES if makes(session, _BASE + (777 if step == 1 else step))),
        0,
    )
    zero = makes(session, 0)
    largest = next((size for size in HUGE if makes(session, size)), _BASE)
    return SizeLimits(granularity, zero=zero, largest=largest)


def makes(session: TargetSession, size: int) -> bool:
    """Return whether the target makes a volume of exactly ``size`` bytes."""
    count = len(session.backends)
    try:
        disk = session.new_disk(size, prefill=False, format="raw", name=f"size{count}")
        return seen_size(session, disk) == size
    except (SetupError, ProgramError, NotRun, CaseBroken, *HANDSHAKE_ERRORS):
        return False
    finally:
        for backend in session.backends[count:]:
            backend.remove()
        del session.backends[count:]


def seen_size(session: TargetSession, disk: Disk) -> int:
    """Return the size of a volume in bytes, as a raw NBD client, the file or QEMU sees it."""
    if disk.backend.uri is not None:
        with contextlib.suppress(*HANDSHAKE_ERRORS), session.nbd(disk, contexts=()) as client:
            return client.size
    if disk.volume_path.is_file():
        return disk.volume_path.stat().st_size
    size: int = session.qemu_img.json("info", "-U", disk.filename)["virtual-size"]
    return size
