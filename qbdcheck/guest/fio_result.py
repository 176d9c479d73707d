"""Typed results of fio, the same for every version and output form.

All times are nanoseconds, all sizes bytes and all rates per second. fio 2.x prints microseconds and
KiB where 3.x prints nanoseconds and bytes (fio HOWTO, "JSON output").
"""

from __future__ import annotations

import os

from pydantic import BaseModel, ConfigDict, Field

DIRECTIONS = ("read", "write", "trim", "mixed")
"""``mixed`` is the sum of the others, printed instead of them with unified_rw_reporting=1."""
EILSEQ = 84
ALL_CLIENTS = "All clients"
"""Name of the sum over all jobs that fio's client mode prints after the jobs."""


class FioOutputError(ValueError):
    """The text is not output of fio, or has a part that is not understood; the message says which.

    :ivar refused: whether fio refused its options and did not start a job.
    """

    def __init__(self, message: str, *, refused: bool = False) -> None:
        super().__init__(message)
        self.refused = refused


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Latency(_Result):
    """Submission latency, completion latency, or their sum, in nanoseconds."""

    least: float = 0.0
    most: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    percentiles: dict[float, float] = Field(default_factory=dict)
    bins: dict[int, int] = Field(default_factory=dict)
    """Number of requests by latency; only json+ has it."""


class Direction(_Result):
    """The reads, writes or trims of a job.

    :ivar requests: number of requests. Versions and forms that print none (terse, JSON before
        fio 2.2) give IOPS times runtime, rounded.
    """

    bytes_done: int = 0
    bytes_per_s: float = 0.0
    iops: float = 0.0
    runtime_ms: int = 0
    requests: int = 0
    short: int = 0
    dropped: int = 0
    slat: Latency = Latency()
    clat: Latency = Latency()
    lat: Latency = Latency()


class Job(_Result):
    """A job, or a group of jobs that fio reports as one.

    :ivar error: an errno, 0 for none.
    :ivar options: the options of the job; the last value where one is given several times.
    :ivar all_options: every option of the job in order, with all values.
    """

    name: str
    error: int = 0
    total_errors: int = 0
    options: dict[str, str] = Field(default_factory=dict)
    all_options: tuple[tuple[str, str], ...] = ()
    read: Direction = Direction()
    write: Direction = Direction()
    trim: Direction = Direction()
    mixed: Direction = Direction()
    buckets: dict[str, float] = Field(default_factory=dict)
    """Percent of requests by latency: "250 us" has those above the previous bucket."""
    user_cpu: float = 0.0
    system_cpu: float = 0.0

    @property
    def directions(self) -> dict[str, Direction]:
        """The directions in which the job did something."""
        found = {name: getattr(self, name) for name in DIRECTIONS}
        return {name: one for name, one in found.items() if one.requests or one.bytes_done}


class DiskUse(_Result):
    """The kernel's counters of a disk while fio ran."""

    name: str
    reads: int = 0
    writes: int = 0
    utilisation: float = 0.0


class VerifyFailure(_Result):
    """A block that does not hold what fio wrote. Offset and length are bytes.

    :ivar file: "" if fio does not name it; the offset is then -1.
    """

    file: str
    offset: int
    length: int
    what: str
    dumps: tuple[str, ...] = ()
    """Files in the guest: the received block, and the expected block."""
    details: tuple[str, ...] = ()
    """Further lines that fio printed about this block."""

    def __str__(self) -> str:
        """Return one line: where, and what is wrong."""
        if not self.file:
            return self.what
        return f"{self.file} offset {self.offset}, {self.length} bytes: {self.what}"


class FioResult(_Result):
    """The result of a run of fio.

    :ivar signals: signals that ended a process of fio.
    """

    version: str = ""
    jobs: list[Job] = Field(default_factory=list)
    disks: list[DiskUse] = Field(default_factory=list)
    failures: list[VerifyFailure] = Field(default_factory=list)
    signals: tuple[int, ...] = ()

    @property
    def error(self) -> int:
        """The first errno of a job, else EILSEQ if a block is wrong, else 0."""
        own = next((job.error for job in self.jobs if job.error), 0)
        return own or (EILSEQ if self.failures else 0)

    def bytes_done(self, direction: str) -> int:
        """Return the bytes that all jobs moved in a direction of DIRECTIONS."""
        return sum(getattr(job, direction).bytes_done for job in self.jobs)

    def summary(self) -> list[str]:
        """Return one line for each direction of each job, each error and each wrong block."""
        lines = []
        for job in self.jobs:
            for name, one in job.directions.items():
                line = f"{job.name}: {name} {one.requests} requests, {one.bytes_done} bytes,"
                line += f" {one.iops:.0f} IOPS, {one.bytes_per_s / 2**20:.1f} MiB/s"
                line += f", clat mean {one.clat.mean / 1e6:.2f} ms"
                if 99.0 in one.clat.percentiles:
                    line += f", p99 {one.clat.percentiles[99.0] / 1e6:.2f} ms"
                lines.append(line)
            if job.error:
                lines.append(f"{job.name}: error {job.error} ({os.strerror(job.error)})")
        return lines + [str(one) for one in self.failures]
