"""Bugs of QEMU itself that cases find, and the releases that have them.

Such a case fails on any backend if the QEMU in use has the bug. What a distribution has fixed
without a new version is not known here, so the version alone accuses nobody: a failed case is
repeated without the target (`qbdcheck.pytest_integration.without_target`). The versions say whether
the bug is a known one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

WHERE = "docs/findings.md#qemu-bugs-that-cases-were-made-from"
"""The place where the bugs are documented."""


@dataclass(frozen=True)
class QemuBug:
    """A bug of QEMU that has been fixed.

    :ivar case: number of the case that finds it.
    :ivar what: what QEMU does wrong, as a sentence without its full stop.
    :ivar fixed: the first release with the fix in each stable series that is known, and last the
        first later series that was measured and does not have the bug.
    """

    case: int
    what: str
    fixed: tuple[str, ...]

    def is_in(self, version: str) -> bool:
        """Return whether a version may have the bug: it is older than the fix.

        :param version: such as ``7.2.22``.
        """
        here = _numbers(version)
        *series, later = map(_numbers, self.fixed)
        return here < later and not any(here[:2] == one[:2] and here >= one for one in series)

    @property
    def sentence(self) -> str:
        """What QEMU does wrong, and which releases have the fix."""
        *series, later = self.fixed
        return f"{self.what}; fixed in {', '.join(series)}, and in {later} at the latest"


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(map(int, version.split(".")))


def _bug(case: int, what: str, fixed: str, later: str = "10.0") -> QemuBug:
    return QemuBug(case, what, (fixed, later))


QEMU_BUGS: Sequence[QemuBug] = (
    _bug(125, "a write to a VHDX image spoils its block table", "7.2.2"),
    _bug(174, "the raw format's error for a wrong offset or size has wrong numbers", "7.2.15"),
    _bug(580, "a virtio-blk disk with detect-zeroes fails a guest's writes of zeroes", "7.2.1"),
    _bug(1110, "qemu-img rebase past a shorter layer does not end, or shows wrong data", "7.2.7"),
    _bug(1111, "the block status of a snapshot-access node over qcow2 aborts QEMU", "7.2.9"),
    _bug(1111, "two reads of one place of a snapshot-access node abort QEMU", "7.2.15"),
    _bug(1112, "an image makes QEMU open the data file that it names (CVE-2024-4467)", "7.2.13"),
    _bug(1302, "savevm and loadvm crash QEMU while it waits for a migration", "7.2.9"),
    _bug(1392, "nbd-server-stop under clients in their handshake crashes QEMU, or leaves them "
               "connected (CVE-2024-7409)", "7.2.14"),
    _bug(1394, "qemu-nbd --fork keeps the standard error of its caller open", "7.2.5"),
)  # fmt: skip
"""The bugs, by case. The fixes are those of docs/real-bugs.md."""


def bugs_of(case: int) -> list[QemuBug]:
    """Return the bugs that a case finds, given by its number."""
    return [bug for bug in QEMU_BUGS if bug.case == case]
