"""Which sizes of volumes a target can make: the step between sizes, zero, and huge sizes."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from dataclasses import dataclass

from blockio.sizes import format_size
from qbdcheck.errors import CaseBroken, NotRun, ProgramError, SetupError
from qbdcheck.machine_speed import Limit
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.lifecycle import COMMAND_S
from qbdcheck.targets.readiness import HANDSHAKE_ERRORS
from qbdcheck.targets.session import TargetSession

GRANULARITIES = (1, 512, 4096, 65536, 1 << 20, 4 << 20)
"""Steps between sizes that are tried, in bytes: bytes, sectors, pages, and extents of LVM."""
HUGE = (1 << 40, 100 << 40, 1 << 62)
"""Sizes that are tried as the largest, in bytes. They need thin allocation."""
LONG_S = 5.0
"""Seconds after which no larger size is tried: the target writes something for each part."""
_BASE, _TRIED = 8 << 20, 16 << 20
_ODD_SIZES = ((1 << 20) + 777, (2 << 20) + 1, (8 << 20) - 1, (5 << 20) + 4099, (11 << 20) + 65539)
"""The second and the third are next to powers of two: rounded to any power of two, up or down, they
have nothing but the step in common."""
_FAILURES = (SetupError, ProgramError, NotRun, CaseBroken, *HANDSHAKE_ERRORS)
"""What it raises if a target does not make a volume, or does not serve it."""


@dataclass(frozen=True)
class SizeLimits:
    """The sizes that a target can make, in bytes.

    :ivar granularity: each size is a multiple of this; 0 if no probed size was made exactly.
    :ivar zero: whether a volume may have no bytes at all.
    :ivar largest: the largest probed size that the target made.
    :ivar cuts: other sizes are rounded down, which takes the end of the volume away.
    :ivar written: each byte of a new volume is written, so a huge one would fill the disk.
    """

    granularity: int = 1
    zero: bool = True
    largest: int = HUGE[-1]
    cuts: bool = False
    written: bool = False

    def nearest(self, size: int) -> int:
        """Return the smallest size that the target can make and that is not below ``size``."""
        step = max(1, self.granularity)
        least = 0 if self.zero else step
        return max(least, -(-size // step) * step)

    def __str__(self) -> str:
        step = {0: "none exactly", 1: "any number of bytes"}.get(
            self.granularity, f"multiples of {self.granularity} bytes"
        )
        if self.cuts:
            step += " (other sizes are rounded down, and the end is missing)"
        zero = "with" if self.zero else "without"
        most = f"up to {format_size(self.largest)}"
        if self.largest < HUGE[0]:
            most = f"{format_size(self.largest)} works, {format_size(HUGE[0])} does not"
        if self.written:
            most = "no huge one was tried, because each byte of a new volume is written"
        return f"{step}, {zero} size 0, {most}"


def probe_sizes(session: TargetSession) -> SizeLimits:
    """Make volumes of several sizes, and return what the target can make."""
    granularity, cuts = 1, False
    if not makes(session, _BASE + 777):
        sizes = _sizes_made(session)
        cuts = any(seen < asked for asked, seen in sizes)
        step = math.gcd(*(seen for _, seen in sizes)) if cuts else step_between(session)
        granularity = step if step > 1 and makes(session, (_BASE // step + 1) * step) else 0
    zero = makes(session, 0)
    step = max(granularity, 1)
    written = _is_written_whole(session, step)
    largest = _BASE if written else _largest(session, step)
    cuts = cuts and granularity > 0
    return SizeLimits(granularity, zero=zero, largest=largest, cuts=cuts, written=written)


def _largest(session: TargetSession, step: int) -> int:
    """Return the largest of the probed sizes that the target makes, in bytes."""
    largest, limit = _BASE, Limit(LONG_S)
    for size in HUGE:
        # A command that takes long for the parts of 100 TiB ends with the limit.
        within_s = COMMAND_S if size == HUGE[0] else LONG_S
        if limit.is_over or not makes(session, size // step * step, within_s):
            break
        largest = size
    return largest


def _is_written_whole(session: TargetSession, step: int) -> bool:
    """Return whether an empty volume takes half of its size or more of the case's file system."""
    size = -(-_TRIED // step) * step
    try:
        with _volume(session, size) as disk:
            files = (path for path in disk.backend.directory.rglob("*") if path.is_file())
            return sum(path.stat().st_blocks * 512 for path in files) >= size // 2
    except _FAILURES:
        return False


def makes(session: TargetSession, size: int, within_s: float = COMMAND_S) -> bool:
    """Return whether the target makes a volume of exactly ``size`` bytes in time."""
    try:
        return made(session, size, within_s) == size
    except _FAILURES:
        return False


def made(session: TargetSession, size: int, within_s: float = COMMAND_S) -> int:
    """Make a volume of ``size`` bytes, and return the size that it has. Errors are not caught."""
    with _volume(session, size, within_s) as disk:
        return seen_size(session, disk)


@contextlib.contextmanager
def _volume(session: TargetSession, size: int, within_s: float = COMMAND_S) -> Iterator[Disk]:
    """Make a volume, and remove it at the end."""
    count = len(session.backends)
    try:
        yield session.new_disk(
            size, prefill=False, format="raw", name=f"size{count}", zero=False, exact=True,
            within_s=within_s,
        )  # fmt: skip
    finally:
        for backend in session.backends[count:]:
            backend.remove()
        del session.backends[count:]


def step_between(session: TargetSession) -> int:
    """Return the step between the sizes of volumes, in bytes; 1 if it makes none, or smaller ones.

    A target that rounds shows it in the sizes that it makes. One that refuses sizes makes the first
    of `GRANULARITIES` that it takes.
    """
    sizes = _sizes_made(session)
    if any(seen < asked for asked, seen in sizes):  # this is not rounding
        return 1
    if sizes:
        return math.gcd(*(seen for _, seen in sizes)) or 1
    return next((step for step in GRANULARITIES if makes(session, _BASE + step)), 1)


def _sizes_made(session: TargetSession) -> list[tuple[int, int]]:
    """Return the odd sizes that the target makes, each with the size that the volume then has."""
    sizes = []
    for asked in _ODD_SIZES:
        with contextlib.suppress(*_FAILURES):
            sizes.append((asked, made(session, asked)))
    return sizes


def seen_size(session: TargetSession, disk: Disk) -> int:
    """Return the size of a volume in bytes, as a raw NBD client, the file or QEMU sees it."""
    if disk.backend.uri is not None:
        with contextlib.suppress(*HANDSHAKE_ERRORS), session.nbd(disk, contexts=()) as client:
            return client.size
    if disk.volume_path.is_file():
        return disk.volume_path.stat().st_size
    size: int = session.qemu_img.json("info", "-U", disk.filename)["virtual-size"]
    return size
