"""What iostat of sysstat says as JSON (``iostat -o JSON -dx``), typed."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, ValidationError

_UNITS = {"rkB/s": 1024, "wkB/s": 1024, "rMB/s": 1 << 20, "wMB/s": 1 << 20}


class IostatError(ValueError):
    """This is no JSON of iostat; says why."""


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
    :raise IostatError: it is not the extended form, or cut off.
    """
    try:
        (host,) = json.loads(text)["sysstat"]["hosts"]
        return [_record(disk, interval_s) for part in host["statistics"] for disk in part["disk"]]
    except (KeyError, TypeError, ValueError, ValidationError) as error:
        raise IostatError(f"no JSON of iostat -dx: {error!r}") from None


def _record(disk: dict[str, object], interval_s: float) -> DiskRecord:
    def bytes_per_s(direction: str) -> float:
        key = f"{direction}kB/s" if f"{direction}kB/s" in disk else f"{direction}MB/s"
        return float(str(disk[key])) * _UNITS[key]

    return DiskRecord.model_validate(
        {
            "disk": disk["disk_device"], "interval_s": interval_s,
            "reads_per_s": disk["r/s"], "writes_per_s": disk["w/s"],
            "read_bytes_per_s": bytes_per_s("r"), "write_bytes_per_s": bytes_per_s("w"),
            "read_wait_ms": disk["r_await"], "write_wait_ms": disk["w_await"],
            "queue": disk["aqu-sz"], "utilisation": disk["util"],
        }
    )  # fmt: skip
