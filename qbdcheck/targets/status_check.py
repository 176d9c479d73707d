"""After a failure: does the target's block status claim zeroes where a plain read returns data?

Copies and format drivers follow block status, so a wrong one shows as zeroed data in a copy. The
volume itself is then right, and only this comparison names the cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from oracles.damage import Damage, Difference
from oracles.finding import SHOWN, Finding, Findings
from qbdcheck.errors import ProgramError
from qbdcheck.report.cause import STATUS_REQUEST
from qbdcheck.targets.disk import Disk
from qbdcheck.targets.session import TargetSession
from qbdcheck.targets.volume_state import State

_SIZE_MAX = 64 << 20
"""Larger disks are not compared, in bytes."""
_WRONG_CONTENTS = 1
"""The largest rank of damage (`Damage.rank`) that a wrong block status can explain."""


class WrongStatus(AssertionError):  # noqa: N818  # the verdict on a target
    """A block status claims zeroes where there is data; ``findings`` say where."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        self.findings = Findings(findings)
        super().__init__(str(self.findings))


def check_status(session: TargetSession, wrong: Iterable[Finding]) -> None:
    """Compare block status and contents of all disks of a case that found wrong contents.

    :param wrong: the findings of the case.
    :raise WrongStatus: a block status claims zeroes where there is data.
    """
    is_wrong = any(finding.damage.rank <= _WRONG_CONTENTS for finding in wrong)
    if not is_wrong or "block_status" not in session.capabilities:
        return
    findings = [one for disk in session.disks for one in lies_of(disk, session)]
    if findings:
        raise WrongStatus(findings)


def lies_of(disk: Disk, session: TargetSession) -> list[Finding]:
    """Return where the block status of a disk claims zeroes, but a plain read returns data.

    A server that does not answer has none.
    """
    is_readable = disk.backend.state is State.RUNNING and disk.format == "raw"
    if not is_readable or not 0 < disk.size <= _SIZE_MAX:
        return []
    try:
        extents = session.qemu_img.json("map", "-U", disk.filename)
        data = disk.read_all()
    except ProgramError:
        return []
    found = []
    for extent in extents:
        start, length = extent["start"], min(extent["length"], len(data) - extent["start"])
        there = data[start : start + length]
        if extent["zero"] and there.any():
            first = start + int(np.flatnonzero(there)[0])
            seen = data[first : first + SHOWN].tobytes()
            difference = Difference(first, seen, bytes(len(seen)))
            found.append(
                Finding(
                    Damage.STATUS,
                    start,
                    length,
                    difference=difference,
                    request=STATUS_REQUEST,
                    evidence=("a plain read returns the data; what follows block status loses it",),
                )
            )
    return found
