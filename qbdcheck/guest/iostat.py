"""Parser for iostat of sysstat: JSON (``iostat -o JSON -dx``) and the extended text, old and new.

The columns of ``iostat -x`` have had several names (sysstat's CHANGES): avgqu-sz is aqu-sz since
12.0, await was split in 10.0, and ``rMB/s`` or ``rsec/s`` replace ``rkB/s`` with -m or without -k.
With -h the device is the last column, its columns are spread over several tables, and numbers have
units of their own. Columns are found by name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

_UNITS = {"kB/s": 1024, "MB/s": 1 << 20, "sec/s": 512}
_POWERS = {"s": 512, "B": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_LEADING_COMMA = re.compile(r"([\[{])\s*,")
"""sysstat 12 with -y writes one where it leaves out the first interval."""
_DISK = re.compile(r'\{\s*"disk_device"[^{}]*\}')


class IostatError(ValueError):
    """The text is not output of iostat -x; the message says why."""


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


class DiskRecords(list[DiskRecord]):
    """Records in the order of the output. ``unread`` describes the part that was cut off, or ""."""

    unread = ""


def parse_iostat(text: str, interval_s: float = 1.0) -> DiskRecords:
    """Return the records of all intervals and disks, in their order.

    :param interval_s: seconds between two records, as given to iostat.
    :raise IostatError: it is neither JSON nor text of the extended form, or no record is complete.
    """
    if "{" not in text:
        return _from_text(text, interval_s)
    text = _LEADING_COMMA.sub(r"\1", text)
    try:
        hosts = json.loads(text)["sysstat"]["hosts"]
        disks = [disk for host in hosts for part in host["statistics"] for disk in part["disk"]]
    except (KeyError, TypeError) as error:
        raise IostatError(f"no JSON of iostat -dx: {error!r}") from None
    except ValueError as error:
        return _from_cut_json(text, interval_s, error)
    return DiskRecords(_record_of_json(disk, interval_s) for disk in disks)


def _from_cut_json(text: str, interval_s: float, error: ValueError) -> DiskRecords:
    """Return the disks that are complete in JSON that is cut off."""
    whole = [found[0] for found in _DISK.finditer(text)]
    if not whole or '"sysstat"' not in text:
        raise IostatError(f"no JSON of iostat -dx: {error}") from None
    records = DiskRecords(_record_of_json(json.loads(one), interval_s) for one in whole)
    records.unread = f"the JSON is cut off or damaged: {error}; {len(records)} records are complete"
    return records


def _record_of_json(disk: Mapping[str, Any], interval_s: float) -> DiskRecord:
    try:
        return _record(disk, interval_s)
    except KeyError as error:
        hint = "; run iostat with -x" if "tps" in disk else ""
        name = disk.get("disk_device", "a disk")
        raise IostatError(f"no JSON of iostat -dx: {name} has no {error}{hint}") from None
    except (TypeError, ValueError, ValidationError) as error:
        raise IostatError(f"no JSON of iostat -dx: {error!r}") from None


def _from_text(text: str, interval_s: float) -> DiskRecords:
    records = DiskRecords()
    pending: dict[str, dict[str, object]] = {}
    names: list[str] = []
    lines = text.splitlines()
    for number, line in enumerate(lines, 1):
        words = line.split()
        if words and "Device" in (words[0].rstrip(":"), words[-1].rstrip(":")):
            names = _columns(words)
        elif not words or words[0].startswith(("avg-cpu", "Linux")):
            names = []
        elif names:
            if len(words) != len(names):
                if number == len(lines) and not text.endswith("\n"):
                    records.unread = f"the last line is cut off: {line.strip()!r}"
                    break
                raise IostatError(_not_a_line(line, f"{len(words)} columns, not {len(names)}"))
            disk = dict(zip(names, words, strict=True))
            known = pending.setdefault(disk["disk_device"], {"line": line})
            if "r/s" in known and "r/s" in disk:  # the next interval
                _flush(pending, records, interval_s)
                known = pending.setdefault(disk["disk_device"], {"line": line})
            known |= disk
    _flush(pending, records, interval_s)
    if not records:
        raise IostatError("no JSON of iostat and no line of a 'Device': no output of iostat -x")
    return records


def _columns(words: list[str]) -> list[str]:
    return ["disk_device" if word.rstrip(":") == "Device" else word for word in words]


def _flush(pending: dict[str, dict[str, object]], records: DiskRecords, interval_s: float) -> None:
    for fields in pending.values():
        try:
            records.append(_record(fields, interval_s))
        except KeyError as error:
            hint = "; run iostat with -x" if "tps" in fields else ""
            raise IostatError(
                _not_a_line(str(fields["line"]), f"no column {error}{hint}")
            ) from None
        except (ValueError, ValidationError) as error:
            raise IostatError(_not_a_line(str(fields["line"]), repr(error))) from None
    pending.clear()


def _not_a_line(line: str, reason: str) -> str:
    return f"{line.strip()!r} is no line of iostat -x: {reason}"


def _number(value: object) -> float:
    """Return a number that may have a decimal comma, or end with a percent sign."""
    return float(str(value).removesuffix("%").replace(",", "."))


def _bytes_per_s(value: object, unit: str) -> float:
    text = str(value)
    if text[-1:] in _POWERS:  # printed with -h: the unit is the number's own
        return _number(text[:-1]) * _POWERS[text[-1]]
    return _number(text) * _UNITS[unit]


def _record(disk: Mapping[str, object], interval_s: float) -> DiskRecord:
    def first(names: Iterable[str]) -> object:
        listed = list(names)
        return disk[next((name for name in listed if name in disk), listed[0])]

    def rate(direction: str) -> float:
        unit = next((unit for unit in _UNITS if f"{direction}{unit}" in disk), "kB/s")
        return _bytes_per_s(disk[f"{direction}{unit}"], unit)

    return DiskRecord(
        disk=str(disk["disk_device"]),
        interval_s=interval_s,
        reads_per_s=_number(disk["r/s"]),
        writes_per_s=_number(disk["w/s"]),
        read_bytes_per_s=rate("r"),
        write_bytes_per_s=rate("w"),
        read_wait_ms=_number(first(("r_await", "await"))),
        write_wait_ms=_number(first(("w_await", "await"))),
        queue=_number(first(("aqu-sz", "avgqu-sz"))),
        utilisation=_number(first(("%util", "util"))),
    )
