"""What fio says, typed: its json and json+ of any 2.x or 3.x, and the text that people have saved.

All times are nanoseconds, all sizes bytes, all rates per second, whatever the version printed: fio
2.x counts microseconds and KiB where 3.x counts nanoseconds and bytes (fio HOWTO, "JSON output").
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blockio.sizes import UNITS, format_size

_DIRECTIONS = ("read", "write", "trim")
_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000}
_TEXT_UNITS_NS = {"nsec": 1, "usec": 1_000, "msec": 1_000_000, "sec": 1_000_000_000}


class FioOutputError(ValueError):
    """This is no output of fio; says why, and where."""


class _Result(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Latency(_Result):
    """Of one kind: submission, completion or both, in nanoseconds."""

    least: float = 0.0
    most: float = 0.0
    mean: float = 0.0
    deviation: float = 0.0
    percentiles: dict[float, float] = Field(default_factory=dict)
    bins: dict[int, int] = Field(default_factory=dict)
    """Requests by their latency: of json+ only."""


class Direction(_Result):
    """The reads, writes or trims of a job."""

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
    """A job, or a group of jobs that fio reported as one. ``error`` is an errno, 0 for none."""

    name: str
    error: int = 0
    total_errors: int = 0
    options: dict[str, str] = Field(default_factory=dict)
    read: Direction = Direction()
    write: Direction = Direction()
    trim: Direction = Direction()
    buckets: dict[str, float] = Field(default_factory=dict)
    """Percent of requests by latency: "250 us" has those above the bucket before it."""
    user_cpu: float = 0.0
    system_cpu: float = 0.0

    @property
    def directions(self) -> dict[str, Direction]:
        """Those that did something."""
        found = {name: getattr(self, name) for name in _DIRECTIONS}
        return {name: one for name, one in found.items() if one.requests or one.bytes_done}


class DiskUse(_Result):
    """What the kernel counted for a disk while fio ran."""

    name: str
    reads: int = 0
    writes: int = 0
    utilisation: float = 0.0


class VerifyFailure(_Result):
    """A block that was not what fio wrote there. Offset and length are bytes."""

    file: str
    offset: int
    length: int
    what: str
    dumps: tuple[str, ...] = ()
    """Files in the guest: the block as it was received, and as it was expected."""


class FioResult(_Result):
    """All of a run."""

    version: str = ""
    jobs: list[Job] = Field(default_factory=list)
    disks: list[DiskUse] = Field(default_factory=list)
    failures: list[VerifyFailure] = Field(default_factory=list)

    @property
    def error(self) -> int:
        """The first errno of a job, or EILSEQ for data that were wrong; 0 if all is well."""
        own = next((job.error for job in self.jobs if job.error), 0)
        return own or (84 if self.failures else 0)

    def summary(self) -> list[str]:
        """One line for each direction of each job, as people read them."""
        lines = []
        for job in self.jobs:
            for name, one in job.directions.items():
                line = f"{job.name}: {name} {one.requests} requests, {one.bytes_done} bytes,"
                line += f" {one.iops:.0f} IOPS, {format_size(one.bytes_per_s)}/s"
                line += f", clat mean {one.clat.mean / 1e6:.2f} ms"
                if 99.0 in one.clat.percentiles:
                    line += f", p99 {one.clat.percentiles[99.0] / 1e6:.2f} ms"
                lines.append(line)
            if job.error:
                lines.append(f"{job.name}: error {job.error} ({os.strerror(job.error)})")
        lines += [f"{one.file}: offset {one.offset}: {one.what}" for one in self.failures]
        return lines


def parse(output: str, errors: str = "") -> FioResult:
    """Return the result of a run of fio.

    :param output: what it printed: JSON with or without lines of text around it, or text.
    :param errors: its standard error, where verify failures are told.
    :raise FioOutputError: neither kind of output is in it.
    """
    failures = list(_verify_failures(f"{output}\n{errors}"))
    start = re.search(r"^\{\s*$", output, re.M)
    if start is not None:
        return _from_json(output[start.start() :], failures)
    jobs = list(_text_jobs(output))
    if not jobs:
        raise FioOutputError("no JSON and no line 'NAME: (groupid=...': this is no output of fio")
    version = re.search(r"^\s*(fio-\d+\.\d\S*)\s*$", output, re.M)
    return FioResult(
        version=version[1] if version else "",
        jobs=jobs,
        disks=list(_text_disks(output)),
        failures=failures,
    )


# JSON


def _from_json(text: str, failures: list[VerifyFailure]) -> FioResult:
    try:
        whole, _ = json.JSONDecoder().raw_decode(text)
        return FioResult(
            version=whole.get("fio version", ""),
            jobs=[_json_job(job) for job in whole.get("jobs", whole.get("client_stats", []))],
            disks=[_json_disk(disk) for disk in whole.get("disk_util", [])],
            failures=failures,
        )
    except (ValueError, ValidationError, AttributeError, TypeError, KeyError) as error:
        raise FioOutputError(f"fio's JSON is damaged: {str(error).splitlines()[0]}") from None


def _json_job(job: dict[str, Any]) -> Job:
    buckets = {
        f"{bound} {unit}": float(share)
        for unit in _UNITS_NS
        for bound, share in job.get(f"latency_{unit}", {}).items()
        if share
    }
    return Job(
        name=job["jobname"],
        error=job.get("error", 0),
        total_errors=job.get("total_err", 0),
        options={key: str(value) for key, value in job.get("job options", {}).items()},
        buckets=buckets,
        user_cpu=job.get("usr_cpu", 0.0),
        system_cpu=job.get("sys_cpu", 0.0),
        **{name: _json_direction(job[name]) for name in _DIRECTIONS if name in job},
    )


def _json_direction(one: dict[str, Any]) -> Direction:
    modern = "clat_ns" in one
    # fio 2.x counts in KiB: io_bytes was KiB until io_kbytes came beside it.
    done = one.get("io_bytes", 0) * (1 if "io_kbytes" in one or modern else 1024)
    return Direction(
        bytes_done=done,
        bytes_per_s=one.get("bw_bytes", one.get("bw", 0) * 1024),
        iops=one.get("iops", 0.0),
        runtime_ms=one.get("runtime", 0),
        requests=one.get("total_ios", 0),
        short=one.get("short_ios", 0),
        dropped=one.get("drop_ios", 0),
        **{name: _json_latency(one, name) for name in ("slat", "clat", "lat")},
    )


def _json_latency(one: dict[str, Any], name: str) -> Latency:
    scale = 1 if f"{name}_ns" in one else 1000
    found = one.get(f"{name}_ns", one.get(name, {}))
    return Latency(
        least=found.get("min", 0) * scale,
        most=found.get("max", 0) * scale,
        mean=found.get("mean", 0) * scale,
        deviation=found.get("stddev", 0) * scale,
        percentiles={
            float(key): value * scale
            for key, value in found.get("percentile", {}).items()
            if float(key) > 0
        },
        bins={int(key): value for key, value in found.get("bins", {}).items()},
    )


def _json_disk(disk: dict[str, Any]) -> DiskUse:
    return DiskUse(
        name=disk["name"],
        reads=disk.get("read_ios", 0),
        writes=disk.get("write_ios", 0),
        utilisation=disk.get("util", 0.0),
    )


# Text

_JOB = re.compile(r"^\s*(\S.*?): \(groupid=\d+, jobs=\d+\): err=\s*(\d+)")
_DIRECTION = re.compile(
    r"^\s*(read|write|trim)\s*: IOPS=([\d.]+[kM]?), BW=([\d.]+[KMG]?i?B)/s"
    r".*?\(([\d.]+[KMGT]?i?B)/(\d+)msec"
)
_OLD_DIRECTION = re.compile(
    r"^\s*(read|write|trim)\s*: io=([\d.]+[KMGT]?B), bw=([\d.]+[KMG]?B)/s,"
    r" iops=([\d.]+[kM]?), runt=\s*(\d+)msec"
)
_LATENCY = re.compile(
    r"^\s*(slat|clat|lat) \((nsec|usec|msec|sec)\): min=\s*([\d.]+[kKM]?), max=\s*([\d.]+[kKM]?),"
    r" avg=\s*([\d.]+), stdev=\s*([\d.]+)"
)
_PERCENTILES = re.compile(r"^\s*clat percentiles \((nsec|usec|msec|sec)\):")
_PERCENTILE = re.compile(r"([\d.]+)th=\[\s*(\d+)\]")
_BUCKETS = re.compile(r"^\s*lat \((nsec|usec|msec)\)\s*: (.*=.*%.*)$")
_BUCKET = re.compile(r"(>=)?(\d+)=([\d.]+)%")
_ISSUED = re.compile(r"^\s*issued\s+(?:rwts?)?\s*: total=(?:r=)?(\d+),(?:w=)?(\d+),(?:d=)?(\d+)")
_OLD_ISSUED = re.compile(r"^\s*issued\s*: total=r=(\d+)/w=(\d+)/d=(\d+)")
_CPU = re.compile(r"^\s*cpu\s*: usr=([\d.]+)%, sys=([\d.]+)%")
_DISK = re.compile(r"^\s*(\w+): ios=(\d+)/(\d+).*util=([\d.]+)%")


def _size(text: str) -> int:
    """Bytes of ``25.4GiB``; fio 2.x without the i means powers of two as well."""
    found = re.match(r"([\d.]+)([KMGT]?)", text)
    if found is None:
        raise FioOutputError(f"{text!r} is no size")
    return round(float(found[1]) * UNITS[found[2]])


def _number(text: str) -> float:
    factor = {"k": 1e3, "K": 1e3, "M": 1e6}.get(text[-1], 1.0)
    return float(text.rstrip("kKM")) * factor


def _text_jobs(output: str) -> Iterator[Job]:
    found: list[list[str]] = []
    for line in output.splitlines():
        if _JOB.match(line) or line.startswith(("Run status", "Disk stats")):
            found.append([])
        if found:
            found[-1].append(line)
    for lines in found:
        if lines and (head := _JOB.match(lines[0])):
            yield _text_job(head, lines[1:])


def _text_job(head: re.Match[str], lines: list[str]) -> Job:
    fields: dict[str, Any] = {"name": head[1], "error": int(head[2]), "buckets": {}}
    directions: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] = {}
    unit_ns = 0
    for line in lines:
        if (match := _DIRECTION.match(line)) or (old := _OLD_DIRECTION.match(line)):
            if match:
                name, iops, rate, done, runtime = match.groups()
            else:
                assert old is not None
                name, done, rate, iops, runtime = old.groups()
            current = directions[name] = {
                "iops": _number(iops),
                "bytes_per_s": _size(rate),
                "bytes_done": _size(done),
                "runtime_ms": int(runtime),
            }
        elif match := _LATENCY.match(line):
            scale = _TEXT_UNITS_NS[match[2]]
            least, most, mean, deviation = (_number(word) * scale for word in match.groups()[2:])
            current[match[1]] = {
                "least": least, "most": most, "mean": mean, "deviation": deviation,
            }  # fmt: skip
        elif match := _PERCENTILES.match(line):
            unit_ns = _TEXT_UNITS_NS[match[1]]
        elif unit_ns and "|" in line:
            points = {float(at): float(is_) * unit_ns for at, is_ in _PERCENTILE.findall(line)}
            current.setdefault("clat", {}).setdefault("percentiles", {}).update(points)
        else:
            unit_ns = 0
            _text_rest(line, fields, directions)
    return Job.model_validate({**fields, **directions})


def _text_rest(line: str, fields: dict[str, Any], directions: dict[str, dict[str, Any]]) -> None:
    if match := _BUCKETS.match(line):
        unit = {"nsec": "ns", "usec": "us", "msec": "ms"}[match[1]]
        for beyond, bound, share in _BUCKET.findall(match[2]):
            if float(share):
                fields["buckets"][f"{beyond}{bound} {unit}"] = float(share)
    elif match := _CPU.match(line):
        fields["user_cpu"], fields["system_cpu"] = float(match[1]), float(match[2])
    elif match := _ISSUED.match(line) or _OLD_ISSUED.match(line):
        for name, count in zip(_DIRECTIONS, match.groups(), strict=True):
            if int(count):
                directions.setdefault(name, {})["requests"] = int(count)


def _text_disks(output: str) -> Iterator[DiskUse]:
    _, _, rest = output.partition("Disk stats")
    for line in rest.splitlines():
        if match := _DISK.match(line):
            name, reads, writes, utilisation = match.groups()
            yield DiskUse(
                name=name, reads=int(reads), writes=int(writes), utilisation=float(utilisation)
            )


# Verify failures (fio's verify.c)

_FAILURE = re.compile(
    r"^(?:fio: )?(?P<what>[\w-]+: (?:verify failed|bad .*?)) at file (?P<file>\S+)"
    r" offset (?P<offset>\d+), length (?P<length>\d+)"
    r"(?: \(requested block: offset=(?P<block>\d+), length=(?P<block_length>\d+))?"
)
_DUMP = re.compile(r"(?:received|expected|hdr_fail) data dumped as (\S+)")


def _verify_failures(text: str) -> Iterator[VerifyFailure]:
    found: dict[str, Any] | None = None
    for line in text.splitlines():
        if match := _FAILURE.match(line.strip()):
            if found is not None:
                yield VerifyFailure(**found)
            length = int(match["length"]) or int(match["block_length"] or 0)
            found = {
                "file": match["file"], "offset": int(match["offset"]), "length": length,
                "what": match["what"], "dumps": (),
            }  # fmt: skip
        elif found is not None and (dump := _DUMP.search(line)):
            found["dumps"] = (*found["dumps"], dump[1])
    if found is not None:
        yield VerifyFailure(**found)
