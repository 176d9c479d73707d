"""Parser for fio's normal text of 2.0 to 3.x, as printed locally or by a client of a server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from qbdcheck.guest.fio_result import (
    ALL_CLIENTS,
    DIRECTIONS,
    DiskUse,
    FioOutputError,
    FioResult,
    Job,
)

_UNITS_NS = {"nsec": 1, "usec": 1_000, "msec": 1_000_000, "sec": 1_000_000_000}
_HOST = re.compile(r"^<[^>\s]+> ?", re.MULTILINE)
"""fio's client puts the name of the server before each line."""
_VERSION = re.compile(r"^\s*((?:fio[- ])?\d+\.\d+\S*)\s*$", re.MULTILINE)
_CLIENT_VERSION = re.compile(r"\bfio=(fio-\S+?),")
_JOB = re.compile(r"^\s*(\S.*?): \(groupid=\d+, jobs=\d+\): err=\s*(\d+)")
_ANY_DIRECTION = re.compile(r"^\s*(?:read|write|trim|mixed)\s*:\s")
_NUMBER = r"[\d.]+(?:e[+-]?\d+)?[kKMGT]?"
_DIRECTION = re.compile(
    rf"^\s*(read|write|trim|mixed)\s*: IOPS=({_NUMBER}), BW=([\d.]+\s*[KMGT]?i?B)/s"
    r".*?\(([\d.]+[KMGTP]?i?B)/(\d+)msec"
)
_OLD_DIRECTION = re.compile(
    rf"^\s*(read|write|trim|mixed)\s*: io=([\d.]+[KMGTP]?i?B), bw=([\d.]+\s*[KMGT]?i?B)/s\s*,"
    rf" iops=\s*({_NUMBER})\s*, runt=\s*(\d+)msec"
)
_ANY_LATENCY = re.compile(r"^\s*(?:slat|clat|lat) \(\w+\)\s*: *min=")
_LATENCY = re.compile(
    rf"^\s*(slat|clat|lat) \((nsec|usec|msec|sec)\)\s*: min=\s*({_NUMBER})\s*,"
    rf" max=\s*({_NUMBER})\s*, avg=\s*({_NUMBER})\s*, stdev=\s*({_NUMBER})"
)
_PERCENTILES = re.compile(r"^\s*s?c?lat percentiles \((nsec|usec|msec|sec)\):")
_PERCENTILE = re.compile(r"([\d.]+)th=\[\s*(\d+)\]")
_BUCKETS = re.compile(r"^\s*lat \((nsec|usec|msec)\)\s*: (.*=.*%.*)$")
_BUCKET = re.compile(r"(>=)?(\d+)=([\d.]+)%")
_ANY_ISSUED = re.compile(r"^\s*issued\s+(?:rwts?)?\s*: total=")
_ISSUED = re.compile(
    r"^\s*issued\s+(?:rwts?)?\s*: total=(?:r=)?(\d+)[,/](?:w=)?(\d+)[,/](?:d=)?(\d+)"
)
_CPU = re.compile(r"^\s*cpu\s*: usr=([\d.]+)%, sys=([\d.]+)%")
_DISK = re.compile(r"^\s*(\S+): ios=(\d+)/(\d+)(?:.*?\butil=([\d.]+)%)?")
_SIZE = re.compile(r"([\d.]+)\s*([KMGTP]?)(i?)B")
_POWERS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4, "P": 5}


def has_text(text: str) -> bool:
    """Return whether the text has the first line of a job's result."""
    return any(_JOB.match(line) for line in _HOST.sub("", text).splitlines())


def parse_text(text: str) -> FioResult:
    """Return the result in the text.

    :raise FioOutputError: a job's line is not understood, or there is no job.
    """
    text = _HOST.sub("", text)
    jobs = list(_jobs(text))
    if not jobs:
        raise FioOutputError("no line 'NAME: (groupid=...' in the text: this is not output of fio")
    version = _VERSION.search(text) or _CLIENT_VERSION.search(text)
    single = [job for job in jobs if job.name != ALL_CLIENTS]
    return FioResult(
        version=version[1] if version else "", jobs=single or jobs, disks=list(_disks(text))
    )


def _size(text: str, *, old: bool) -> int:
    """Return the bytes of ``25.4GiB``. Without the i, fio 2.x means 1024 and fio 3.x 1000."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise FioOutputError(f"{text!r} is not a size of fio")
    base = 1024 if old or found[3] else 1000
    return round(float(found[1]) * float(base) ** _POWERS[found[2]])


def _number(text: str) -> float:
    factor = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "T": 1e12}.get(text[-1], 1.0)
    return float(text.rstrip("kKMGT")) * factor


def _last_report(output: str) -> str:
    """Return the last report: each --status-interval prints one, from the jobs to the sums."""
    starts = [
        found.end() for found in re.finditer(r"^Run status group 0 .*$", output, re.MULTILINE)
    ]
    return next((part for at in [*reversed(starts), 0]
                 if any(map(_JOB.match, (part := output[at:]).splitlines()))), output)  # fmt: skip


def _jobs(output: str) -> Iterator[Job]:
    output = _last_report(output)
    found: list[list[str]] = []
    for line in output.splitlines():
        if _JOB.match(line) or line.startswith(("Run status", "Disk stats")):
            found.append([])
        if found:
            found[-1].append(line)
    for lines in found:
        if lines and (head := _JOB.match(lines[0])):
            yield _job(head, lines[1:])


def _job(head: re.Match[str], lines: list[str]) -> Job:
    fields: dict[str, Any] = {"name": head[1], "error": int(head[2]), "buckets": {}}
    directions: dict[str, dict[str, Any]] = {}
    current: dict[str, Any] = {}
    unit_ns = 0
    for line in lines:
        if _ANY_DIRECTION.match(line):
            name, values = _direction(line)
            current = directions[name] = values
        elif _ANY_LATENCY.match(line):
            name, values = _latency(line)
            current.setdefault(name, {}).update(values)
        elif match := _PERCENTILES.match(line):
            unit_ns = _UNITS_NS[match[1]]
        elif unit_ns and "|" in line:
            points = {float(at): float(is_) * unit_ns for at, is_ in _PERCENTILE.findall(line)}
            current.setdefault("clat", {}).setdefault("percentiles", {}).update(points)
        else:
            unit_ns = 0
            _other(line, fields, directions)
    return Job.model_validate({**fields, **directions})


def _direction(line: str) -> tuple[str, dict[str, Any]]:
    old = False
    if match := _DIRECTION.match(line):
        name, iops, rate, done, runtime = match.groups()
    elif match := _OLD_DIRECTION.match(line):
        name, done, rate, iops, runtime = match.groups()
        old = True
    else:
        raise FioOutputError(f"line of fio not understood: {line.strip()!r}")
    return name, {
        "iops": _number(iops),
        "bytes_per_s": _size(rate, old=old),
        "bytes_done": _size(done, old=old),
        "runtime_ms": int(runtime),
    }


def _latency(line: str) -> tuple[str, dict[str, float]]:
    match = _LATENCY.match(line)
    if match is None:
        raise FioOutputError(f"line of fio not understood: {line.strip()!r}")
    scale = _UNITS_NS[match[2]]
    least, most, mean, deviation = (_number(word) * scale for word in match.groups()[2:])
    return match[1], {"least": least, "most": most, "mean": mean, "deviation": deviation}


def _other(line: str, fields: dict[str, Any], directions: dict[str, dict[str, Any]]) -> None:
    if match := _BUCKETS.match(line):
        unit = {"nsec": "ns", "usec": "us", "msec": "ms"}[match[1]]
        for beyond, bound, share in _BUCKET.findall(match[2]):
            if float(share):
                fields["buckets"][f"{beyond}{bound} {unit}"] = float(share)
    elif match := _CPU.match(line):
        fields["user_cpu"], fields["system_cpu"] = float(match[1]), float(match[2])
    elif _ANY_ISSUED.match(line):
        match = _ISSUED.match(line)
        if match is None:
            raise FioOutputError(f"line of fio not understood: {line.strip()!r}")
        for name, count in _issued(match, directions):
            directions.setdefault(name, {})["requests"] = count


def _issued(
    match: re.Match[str], directions: dict[str, dict[str, Any]]
) -> Iterator[tuple[str, int]]:
    counts = [int(count) for count in match.groups()]
    if set(directions) == {"mixed"}:
        yield "mixed", sum(counts)
        return
    yield from ((name, count) for name, count in zip(DIRECTIONS[:3], counts, strict=True) if count)


def _disks(output: str) -> Iterator[DiskUse]:
    _, _, rest = output.partition("Disk stats")
    for line in rest.splitlines():
        if match := _DISK.match(line):
            name, reads, writes, utilisation = match.groups()
            yield DiskUse(
                name=name,
                reads=int(reads),
                writes=int(writes),
                utilisation=float(utilisation or 0),
            )
