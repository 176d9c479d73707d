"""The verdict on a run of fio on a volume: right, wrong, or a run that shows nothing.

Only a run in which the volume's own counters moved by what fio reports, and in which fio verified
what it claims, is a pass. Faults of fio itself are BROKEN and never a failure of the backend.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qbdcheck.guest.fio_job_file import JobFile
from qbdcheck.guest.fio_limits import region_bytes
from qbdcheck.guest.fio_result import EILSEQ, FioResult

PASS, FAIL, BROKEN = "pass", "FAIL", "BROKEN"
_FAILED = (
    "failed_rd_operations", "failed_wr_operations", "failed_flush_operations",
    "failed_unmap_operations",
)  # fmt: skip


@dataclass(frozen=True)
class Moved:
    """The activity of a volume during a run, by query-blockstats: bytes, and failed requests.

    :ivar discarded: counted by QEMU or by the guest's kernel: QEMU 7.2 does not for virtio-blk.
    """

    read: int
    written: int
    discarded: int
    failed: int

    @classmethod
    def between(
        cls, before: Mapping[str, int], after: Mapping[str, int], discarded: int = 0
    ) -> Moved:
        """Return the difference of two answers of query-blockstats.

        :param discarded: bytes that the guest's kernel discarded meanwhile.
        """

        def grown(key: str) -> int:
            return after.get(key, 0) - before.get(key, 0)

        return cls(
            grown("rd_bytes"),
            grown("wr_bytes"),
            max(grown("unmap_bytes"), discarded),
            sum(map(grown, _FAILED)),
        )

    def __add__(self, other: Moved) -> Moved:
        """Return the sum over two volumes."""
        return Moved(
            self.read + other.read,
            self.written + other.written,
            self.discarded + other.discarded,
            self.failed + other.failed,
        )


@dataclass(frozen=True)
class Verdict:
    """PASS, FAIL or BROKEN, and the reason for one of the latter two."""

    word: str
    reason: str = ""


def judge(
    jobs: JobFile, result: FioResult, status: int, volumes: Sequence[Moved], volume: int
) -> Verdict:
    """Return the verdict on a run.

    :param status: fio's exit status.
    :param volumes: what each disk did; ``volume`` is the size of each in bytes.
    """
    moved = sum(volumes, Moved(0, 0, 0, 0))
    if result.failures:
        first = result.failures[0]
        return Verdict(
            FAIL, f"fio in the guest: {first}; wrong blocks in all: {len(result.failures)}"
        )
    if result.signals:
        name = signal.Signals(result.signals[0]).name
        return Verdict(BROKEN, f"a process of fio died by {name}: not all of the jobs was done")
    if moved.failed:
        return Verdict(FAIL, f"the volume failed {moved.failed} requests; {_error(result, status)}")
    if result.error == EILSEQ:
        return Verdict(FAIL, f"fio in the guest found wrong data: {_error(result, status)}")
    if result.error or status:
        reason = f"{_error(result, status)}, but the volume failed no request"
        return Verdict(BROKEN, reason)
    reason = _did_nothing(jobs, result, moved, volume) or _verified_nothing(
        jobs, result, moved, volume
    )
    return Verdict(BROKEN, reason) if reason else Verdict(PASS)


def _error(result: FioResult, status: int) -> str:
    for job in result.jobs:
        if job.error:
            return f"fio ended [{job.name}] with error {job.error} ({os.strerror(job.error)})"
    return f"fio ended with {status}"


def _did_nothing(jobs: JobFile, result: FioResult, moved: Moved, volume: int) -> str:
    """Return how fio's bytes and the volume's differ, or ""."""
    done = {name: result.bytes_done(name) for name in ("read", "write", "trim", "mixed")}
    if not any(done.values()):
        return "fio did no I/O"
    used = [section for section in jobs.sections if section.does_io]
    direct = all(section.is_direct for section in used)
    region = 0 if any(section.repeats_places for section in used) else region_bytes(jobs, volume)
    pairs = (
        ("read", moved.read, direct),
        ("write", moved.written, direct),
        ("trim", moved.discarded, False),  # the kernel may leave out what is not aligned
    )
    for name, seen, exact in pairs:
        if seen < _least(done[name], region, exact=exact):
            is_cached = not exact and name != "trim"
            cached = "; the rest was the guest's page cache: add direct=1" * is_cached
            return (
                f"fio reports {done[name]} bytes of {name}, but the volume counted {seen}{cached}"
            )
    whole = moved.read + moved.written + moved.discarded
    if whole < _least(done["mixed"], region, exact=direct):
        return f"fio reports {done['mixed']} bytes in all, but the volume counted {whole}"
    return ""


def _least(done: int, region: int, *, exact: bool) -> int:
    """Return the bytes that the volume must have counted.

    Buffered, a block that is used again stays in the page cache, and random places leave some out.
    """
    if exact or not done:
        return done
    return max(min(done, region) // 2, 1)


def _verified_nothing(jobs: JobFile, result: FioResult, moved: Moved, volume: int) -> str:
    """Return what fio claims to verify and did not, or ""."""
    io = [section for section in jobs.sections if section.does_io]
    claimed = [section for section in io if section.verifies and section.writes]
    if not claimed:
        return ""
    written, read = result.bytes_done("write"), result.bytes_done("read")
    if result.bytes_done("mixed"):
        written, read = moved.written, moved.read
    whole = len(claimed) == len(io) and not any(section.trims for section in io)
    least = min(written, region_bytes(jobs, volume)) if whole else min(written, 1)
    if read >= least:
        return ""
    fix = "; runtime= or time_based may have ended it" if _is_timed(jobs) else ""
    return f"fio wrote {written} bytes with verify, but read back only {read}{fix}"


def _is_timed(jobs: JobFile) -> bool:
    return any(section.get("runtime") for section in jobs.sections)
