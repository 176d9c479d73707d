"""Parser for fio's JSON and json+ of 2.x and 3.x."""

from __future__ import annotations

import json
import re
from typing import Any

from pydantic import ValidationError

from qbdcheck.guest.fio_result import (
    ALL_CLIENTS,
    DIRECTIONS,
    Direction,
    DiskUse,
    FioOutputError,
    FioResult,
    Job,
    Latency,
)

_UNITS_NS = {"ns": 1, "us": 1_000, "ms": 1_000_000}
_START = re.compile(r"^[ \t]*\{", re.MULTILINE)


class _Object(dict[str, Any]):
    """A JSON object that keeps repeated keys: ``pairs`` has all of them in order."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def has_json(text: str) -> bool:
    """Return whether a line of the text begins with a brace."""
    return _START.search(text) is not None


def parse_json(text: str) -> FioResult:
    """Return the last result in the text; there may be lines of text around each document.

    fio prints one document for each --status-interval, and the counters in the last one are final.

    :raise FioOutputError: a document is damaged or cut off, or is not one of fio.
    """
    decoder = json.JSONDecoder(object_pairs_hook=_Object)
    at, last = 0, None
    while (found := _START.search(text, at)) is not None:
        start = found.end() - 1
        try:
            last, at = decoder.raw_decode(text, start)
        except ValueError as error:
            line = text.count("\n", 0, start) + 1
            raise FioOutputError(
                f"fio's JSON that begins in line {line} is damaged or cut off: {error}"
            ) from None
    if last is None:
        raise FioOutputError("no JSON document in the output of fio")
    try:
        return _result(last)
    except (ValueError, ValidationError, AttributeError, TypeError, KeyError) as error:
        first = (str(error).splitlines() or [""])[0]
        raise FioOutputError(
            f"fio's JSON is not understood: {type(error).__name__}: {first}"
        ) from None


def _result(whole: dict[str, Any]) -> FioResult:
    listed = [*whole.get("jobs", ()), *whole.get("client_stats", ())]
    if not listed:
        raise ValueError("it has no jobs")
    jobs = [_job(job) for job in listed]
    single = [job for job in jobs if job.name != ALL_CLIENTS]
    return FioResult(
        version=whole.get("fio version", ""),
        jobs=single or jobs,
        disks=[_disk(disk) for disk in whole.get("disk_util", [])],
    )


def _job(job: dict[str, Any]) -> Job:
    directions = {name: _direction(job[name]) for name in DIRECTIONS if name in job}
    if not directions:
        raise ValueError(f"the job {job['jobname']!r} has none of {', '.join(DIRECTIONS)}")
    buckets = {
        f"{bound} {unit}": float(share)
        for unit in _UNITS_NS
        for bound, share in job.get(f"latency_{unit}", {}).items()
        if share
    }
    given = job.get("job options", _Object([]))
    pairs = tuple((key, str(value)) for key, value in given.pairs)
    return Job(
        name=job["jobname"],
        error=job["error"],
        total_errors=job.get("total_err", 0),
        options=dict(pairs),
        all_options=pairs,
        buckets=buckets,
        user_cpu=job.get("usr_cpu", 0.0),
        system_cpu=job.get("sys_cpu", 0.0),
        **directions,
    )


def _direction(one: dict[str, Any]) -> Direction:
    modern = "clat_ns" in one
    # fio 2.x counts KiB in io_bytes, until io_kbytes was added.
    done = one["io_bytes"] * (1 if "io_kbytes" in one or modern else 1024)
    iops, runtime_ms = one["iops"], one["runtime"]
    return Direction(
        bytes_done=done,
        bytes_per_s=one["bw_bytes"] if "bw_bytes" in one else one["bw"] * 1024,
        iops=iops,
        runtime_ms=runtime_ms,
        requests=one["total_ios"] if "total_ios" in one else round(iops * runtime_ms / 1000),
        short=one.get("short_ios", 0),
        dropped=one.get("drop_ios", 0),
        **{name: _latency(one, name) for name in ("slat", "clat", "lat")},
    )


def _latency(one: dict[str, Any], name: str) -> Latency:
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


def _disk(disk: dict[str, Any]) -> DiskUse:
    return DiskUse(
        name=disk["name"],
        reads=disk.get("read_ios", 0),
        writes=disk.get("write_ios", 0),
        utilisation=disk.get("util", 0.0),
    )
