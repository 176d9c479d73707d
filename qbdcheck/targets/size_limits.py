"""Which sizes of volumes a target can make: the step between sizes, zero, and huge sizes."""

from __future__ import annotations

import contextlib
import math
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
_ODD_SIZES = ((1 << 20) + 777, (3 << 20) + 1, (5 << 20) + 4099, (11 << 20) + 65539)
_FAILURES = (SetupError, ProgramError, NotRun, CaseBroken, *HANDSHAKE_ERRORS)
"""What it raises if a target does not make a volume, or does not serve it."""


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
    granularity = 1
    if not makes(session, _BASE + 777):
        step = step_between(session)
        granularity = step if step > 1 and makes(session, (_BASE // step + 1) * step) else 0
    zero = makes(session, 0)
    step = max(granularity, 1)
    largest = next((size for size in HUGE if makes(session, size // step * step)), _BASE)
    return SizeLimits(granularity, zero=zero, largest=largest)


def makes(session: TargetSession, size: int) -> bool:
    """Return whether the target makes a volume of exactly ``size`` bytes."""
    try:
        return made(session, size) == size
    except _FAILURES:
        return False


def made(session: TargetSession, size: int) -> int:
    """Make a volume of ``size`` bytes, and return the size that it has. Errors are not caught."""
    count = len(session.backends)
    try:
        name = f"size{count}"
        return seen_size(
            session, session.new_disk(size, prefill=False, format="raw", name=name, exact=True)
        )
    finally:
        for backend in session.backends[count:]:
            backend.remove()
        del session.backends[count:]


def step_between(session: TargetSession) -> int:
    """Return the step between the sizes of volumes, in bytes; 1 if it makes none, or smaller ones.

    A target that rounds shows it in the sizes that it makes. One that refuses sizes makes the first
    of `GRANULARITIES` that it takes.
    """
    sizes = []
    for asked in _ODD_SIZES:
        with contextlib.suppress(*_FAILURES):
            sizes.append(made(session, asked))
            if sizes[-1] < asked:  # this is not rounding
                return 1
    if sizes:
        return math.gcd(*sizes) or 1
    return next((step for step in GRANULARITIES if makes(session, _BASE + step)), 1)


def seen_size(session: TargetSession, disk: Disk) -> int:
    """Return the size of a volume in bytes, as a raw NBD client, the file or QEMU sees it."""
    if disk.backend.uri is not None:
        with contextlib.suppress(*HANDSHAKE_ERRORS), session.nbd(disk, contexts=()) as client:
            return client.size
    if disk.volume_path.is_file():
        return disk.volume_path.stat().st_size
    size: int = session.qemu_img.json("info", "-U", disk.filename)["virtual-size"]
    return size
