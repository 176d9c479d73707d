"""Rates of disks as dstat prints them (``dstat -rd --disk-util --disk-tps -D DISK``), both ways.

dstat itself is in few distributions any more; what people have saved is read, and what iostat told
is printed in its form, which says in a glance how a load went. Bytes are counted in 1024s, requests
in 1000s, as dstat does (its cprint() with base 1024 or 1000).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from pydantic import BaseModel, ConfigDict

from qbdcheck.guest.iostat import DiskRecord

_NAME = re.compile(r"-+(?:io|dsk)/(?P<disk>[^\s-]+)-*")
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[BkMGT]?)")
_UNITS = " BkMGT"
_COLUMNS = 7


class DstatError(ValueError):
    """This is no output of dstat -rd --disk-util --disk-tps; says why."""


class RateRecord(BaseModel):
    """A disk in one interval: per second, in bytes; utilisation in percent."""

    model_config = ConfigDict(frozen=True)

    disk: str
    reads_per_s: float
    writes_per_s: float
    read_bytes_per_s: float
    write_bytes_per_s: float
    utilisation: float


def parse_dstat(text: str) -> list[RateRecord]:
    """Return the records of all intervals. The first one is the mean since the machine's boot.

    :raise DstatError: it is not of these columns, or cut off.
    """
    header = _NAME.search(text)
    if header is None:
        raise DstatError("no header with io/DISK and dsk/DISK: this is no output of dstat -rd")
    records = []
    for line in text[header.end() :].splitlines()[1:]:
        words = line.replace("|", " ").split()
        if not words or not _NUMBER.fullmatch(words[0]):
            continue  # column names, which come again every screen; a prompt
        if len(words) != _COLUMNS:
            raise DstatError(
                f"{line.strip()!r} has {len(words)} columns, not the {_COLUMNS} of"
                " dstat -rd --disk-util --disk-tps -D DISK"
            )
        bases = (1000, 1000, 1024, 1024, 1, 1000, 1000)
        numbers = [_value(word, base) for word, base in zip(words, bases, strict=True)]
        records.append(
            RateRecord(
                disk=header["disk"], reads_per_s=numbers[0], writes_per_s=numbers[1],
                read_bytes_per_s=numbers[2], write_bytes_per_s=numbers[3], utilisation=numbers[4],
            )
        )  # fmt: skip
    if not records:
        raise DstatError("no interval: dstat was cut off")
    return records


def _value(word: str, base: int) -> float:
    found = _NUMBER.fullmatch(word)
    if found is None:
        raise DstatError(f"{word!r} is no number of dstat")
    power = max(_UNITS.index(found["unit"] or " ") - 1, 0)
    return float(found["number"]) * float(base) ** power


def table(records: Sequence[DiskRecord]) -> Iterator[str]:
    """Give the lines in which dstat would show what iostat told, disk by disk."""
    for disk in dict.fromkeys(one.disk for one in records):
        yield f"--io/{disk}--- --dsk/{disk}-- {disk}-"
        yield " read  writ| read  writ|util"
        for one in records:
            if one.disk == disk:
                counts = f"{_short(one.reads_per_s, 1000)} {_short(one.writes_per_s, 1000)}"
                rates = f"{_short(one.read_bytes_per_s)} {_short(one.write_bytes_per_s)}"
                yield f"{counts}|{rates}|{one.utilisation:4.0f}"


def _short(value: float, base: int = 1024) -> str:
    """Return five characters, with a unit from ``base`` on."""
    units = ["", "k", "M", "G", "T"] if base == 1000 else ["B", "k", "M", "G", "T"]
    while value >= base and len(units) > 1:
        value /= base
        units.pop(0)
    text = f"{value:.1f}" if 0 < value < 10 else f"{value:.0f}"
    return f"{text}{units[0] if value else ''}".rjust(5)
