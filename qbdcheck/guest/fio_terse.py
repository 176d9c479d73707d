"""Parser for fio's terse output (--minimal), versions 3, 4 and 5 (fio HOWTO, "Terse output")."""

from __future__ import annotations

import re
from collections.abc import Iterator

from qbdcheck.guest.fio_result import Direction, FioOutputError, FioResult, Job, Latency

_LINE = re.compile(r"^(?:<[^>\s]+> ?)?([345]);(fio-[^;]*);", re.MULTILINE)
_PERCENTILES = 20
_BASE = 4 + 4 + 4 + _PERCENTILES + 4 + 5
"""Fields of a direction: sums, slat, clat, percentiles, lat, bandwidth."""
_V5_MORE = 6
"""Version 5 adds the samples of the bandwidth, and IOPS."""
_PERCENTILE = re.compile(r"([\d.]+)%=(\d+)")


def has_terse(text: str) -> bool:
    """Return whether a line of the text is terse output."""
    return _LINE.search(text) is not None


def parse_terse(text: str) -> FioResult:
    """Return the result in the text.

    :raise FioOutputError: a field is not understood.
    """
    lines = [line for line in text.splitlines() if _LINE.match(line)]
    jobs = [_job(line) for line in lines]
    if not jobs:
        raise FioOutputError("no line of fio's terse output, version 3, 4 or 5")
    return FioResult(version=lines[0].split(";")[1], jobs=jobs)


def _job(line: str) -> Job:
    head, *_ = fields = line.split(";")
    version = int(head[-1])
    names = ["read", "write", *(["trim"] if version > 3 else [])]
    size = _BASE + (_V5_MORE if version == 5 else 0)
    if len(fields) < 5 + size * len(names):
        raise FioOutputError(
            f"terse line of fio is cut off: {len(fields)} fields, at least {5 + size * len(names)}"
        )
    parts = {
        name: fields[5 + index * size : 5 + (index + 1) * size] for index, name in enumerate(names)
    }
    try:
        directions = {name: _direction(part) for name, part in parts.items()}
        return Job.model_validate({"name": fields[2], "error": int(fields[4]), **directions})
    except ValueError as error:
        raise FioOutputError(f"terse line of fio not understood: {error}") from None


def _direction(part: list[str]) -> Direction:
    percentiles = part[12 : 12 + _PERCENTILES]
    kib, kib_per_s, iops, runtime_ms = part[:4]
    return Direction(
        bytes_done=int(kib) * 1024,
        bytes_per_s=float(kib_per_s) * 1024,
        iops=float(iops),
        runtime_ms=int(runtime_ms),
        requests=round(float(iops) * int(runtime_ms) / 1000),
        slat=_latency(part[4:8]),
        clat=_latency(part[8:12], dict(_percentiles(percentiles))),
        lat=_latency(part[12 + _PERCENTILES : 16 + _PERCENTILES]),
    )


def _percentiles(words: list[str]) -> Iterator[tuple[float, float]]:
    for word in words:
        found = _PERCENTILE.fullmatch(word)
        if found is None:
            raise ValueError(f"{word!r} is not a percentile")
        if float(found[1]):
            yield float(found[1]), float(found[2]) * 1000


def _latency(words: list[str], percentiles: dict[float, float] | None = None) -> Latency:
    least, most, mean, deviation = (float(word) * 1000 for word in words)
    return Latency(
        least=least, most=most, mean=mean, deviation=deviation, percentiles=percentiles or {}
    )
