"""libiscsi's tests of a SCSI disk (iscsi-test-cu) as a second judge of an iSCSI target."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from qbdcheck.errors import CaseBroken, NotRun
from qbdcheck.programs.process import Completed
from qbdcheck.targets.disk import Disk

_FAMILY_S = 60.0
_FAILED = re.compile(r"^Suite (\S+), Test (\S+) had failures:\n((?: +\d+\. .*\n)+)", re.MULTILINE)
_TESTS = re.compile(r"^ +tests +(?P<total>\d+) +(?P<ran>\d+) +\d+ +(?P<failed>\d+)", re.MULTILINE)


def check_by_libiscsi(
    disk: Disk, families: Iterable[str], run: Callable[..., Completed], log: Callable[..., None]
) -> None:
    """Run families of libiscsi's tests, such as ``Read16``, on a disk, which they overwrite.

    Tests of commands that the LUN does not support are skipped by libiscsi and count as passed.

    :param run: the fixture ``run``. :param log: the fixture ``log``; gets a line for each family.
    :raise AssertionError: tests failed; the message has the name and the first line of each.
    :raise NotRun: QEMU reaches the target by another driver than iscsi.
    :raise CaseBroken: no test of a family was run.
    """
    if disk.protocol_blockdev()["driver"] != "iscsi":
        raise NotRun("only for targets of QEMU's iscsi driver")
    failures: list[str] = []
    for family in families:
        argv = ["iscsi-test-cu", "-n", "--dataloss", f"--test=SCSI.{family}", disk.backend.filename]
        done = run(argv, timeout_s=_FAMILY_S, check=False)
        counts = _TESTS.search(done.stdout)
        if counts is None or counts["ran"] == "0":
            raise CaseBroken(f"iscsi-test-cu ran no test of {family}: {done.stdout}{done.stderr}")
        failed = failures_of(done.stdout)
        log(f"{family}: {counts['ran']} tests ran, {counts['failed']} failed")
        if len(failed) != int(counts["failed"]):
            raise CaseBroken(f"iscsi-test-cu names {failed}, and counts {counts['failed']}")
        failures += failed
    assert not failures, f"{len(failures)} tests of libiscsi fail: {'; '.join(failures)}"


def failures_of(output: str) -> list[str]:
    """Return ``Family.Test (first failed check)`` for each failed test of iscsi-test-cu."""
    return [
        f"{match[1]}.{match[2]} ({match[3].splitlines()[0].split('.', 1)[1].strip()})"
        for match in _FAILED.finditer(output)
    ]
