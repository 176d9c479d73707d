"""What iostat of sysstat says, typed: as JSON (``iostat -o JSON -dx``), or as people have saved it.

The columns of ``iostat -x`` have had several names (sysstat's CHANGES): avgqu-sz is aqu-sz since
12.0, await was split up in 10.0, and ``rMB/s`` or ``rsec/s`` stand for ``rkB/s`` with -m or without
-k. They are read by their names.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping

from pydantic import BaseModel, ConfigDict, ValidationError

_UNITS = {"kB/s": 1024, "MB/s": 1 << 20, "sec/s": 512}


class IostatError(ValueError):
    """This is no output of iostat -x; says why."""


class DiskRecord(BaseModel):
    """A disk in one interval: rates per second, bytes, milliseconds, percent."""

    model_config = ConfigDict(frozen=True)

    disk: str
    interval_s: float
    reads_per_s: float
    writes_per_s: float
    read_bytes_per_s: float
    write_bytes_per_s: float
    read_wait_ms: float
    write_wait_ms: float
    queue: float
    utilisation: float


def parse_iostat(text: str, interval_s: float = 1.0) -> list[DiskRecord]:
    """Return the records of all intervals and disks, in their order.

    :param interval_s: seconds between two records, as iostat was told.
    :raise IostatError: it is neither JSON nor text of the extended form, or cut off.
    """
    if "{" not in text:
        return list(_of_text(text, interval_s))
    try:
        (host,) = json.loads(text)["sysstat"]["hosts"]
        return [_record(disk, interval_s) for part in host["statistics"] for disk in part["disk"]]
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise IostatError(f"no JSON of iostat -dx: {error!r}") from None


def _of_text(text: str, interval_s: float) -> Iterator[DiskRecord]:
    names: list[str] = []
    found = False
    for line in text.splitlines():
        words = line.split()
        if words and words[0].rstrip(":") == "Device":
            names = words[1:]
        elif not words or words[0].startswith("avg-cpu"):
            names = []
        elif names and len(words) > len(names):
            disk: dict[str, object] = {"disk_device": words[0]}
            disk |= dict(zip(names, words[1:], strict=False))
            try:
                yield _record(disk, interval_s)
            except (KeyError, ValueError, ValidationError) as error:
                raise IostatError(f"{line.strip()!r} is no line of iostat -x: {error!r}") from None
            found = True
    if not found:
        raise IostatError("no JSON of iostat and no line of a 'Device': no output of iostat -x")


def _record(disk: Mapping[str, object], interval_s: float) -> DiskRecord:
    def first(*names: str) -> object:
        return disk[next((name for name in names if name in disk), names[0])]

    def bytes_per_s(direction: str) -> float:
        unit = next((unit for unit in _UNITS if f"{direction}{unit}" in disk), "kB/s")
        return float(str(disk[f"{direction}{unit}"])) * _UNITS[unit]

    return DiskRecord.model_validate(
        {
            "disk": disk["disk_device"], "interval_s": interval_s,
            "reads_per_s": disk["r/s"], "writes_per_s": disk["w/s"],
            "read_bytes_per_s": bytes_per_s("r"), "write_bytes_per_s": bytes_per_s("w"),
            "read_wait_ms": first("r_await", "await"), "write_wait_ms": first("w_await", "await"),
            "queue": first("avgqu-sz", "aqu-sz"), "utilisation": first("%util", "util"),
        }
    )  # fmt: skip
