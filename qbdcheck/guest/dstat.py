"""Rates of disks in the form of dstat: a parser for its text and CSV, and a printer of that form.

Few distributions still have dstat. The parser reads what people have saved of ``dstat -rd
--disk-util --disk-tps -D DISK``, any of these columns, for several disks. The printer shows the
records of iostat. Bytes are counted in units of 1024 and requests in units of 1000, as in dstat.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from pydantic import BaseModel, ConfigDict

from qbdcheck.guest.iostat import DiskRecord

_COLOUR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_NUMBER = re.compile(r"(?P<number>\d+(?:\.\d+)?)(?P<unit>[BkMGTP]?)")
_UNITS = " BkMGTP"
_MISSING = "-"
"""Printed where dstat has no value."""
_TITLE = re.compile(r"-*(?P<title>(?:(?:io|dsk)/)?[A-Za-z0-9_]+(?:-\d+)?)-*")
_DISK_NAMES = re.compile(r"(?:[\s:]*(?:#?read|#?writ|reads|writes|util))+\s*")
_FIELDS = {
    ("io", "read"): ("reads_per_s", 1000), ("io", "writ"): ("writes_per_s", 1000),
    ("dsk", "read"): ("read_bytes_per_s", 1024), ("dsk", "writ"): ("write_bytes_per_s", 1024),
    ("tps", "read"): ("reads_per_s", 1000), ("tps", "writ"): ("writes_per_s", 1000),
    ("util", "util"): ("utilisation", 1),
}  # fmt: skip
"""Columns by plugin and name: the field of a record, and the base of its units."""


class DstatError(ValueError):
    """The text is not output of dstat for disks; the message says why."""


class RateRecord(BaseModel):
    """A disk in one interval: rates per second, bytes, percent. None: dstat printed no column."""

    model_config = ConfigDict(frozen=True)

    disk: str
    reads_per_s: float | None = None
    writes_per_s: float | None = None
    read_bytes_per_s: float | None = None
    write_bytes_per_s: float | None = None
    utilisation: float | None = None


@dataclass(frozen=True)
class _Column:
    disk: str
    field: str
    """A field of RateRecord, "" for a column of something else."""
    base: int


def parse_dstat(text: str) -> list[RateRecord]:
    """Return the records of all intervals. The first one is the mean since the machine's boot.

    :raise DstatError: there is no header with a disk, or a line of numbers does not fit it.
    """
    text = _COLOUR.sub("", text)
    rows = _csv_rows(text) if '"Dstat' in text or '"pcp-dstat' in text else _text_rows(text)
    records = [record for columns, words in rows for record in _records(columns, words)]
    if not records:
        raise DstatError("no interval: dstat was cut off")
    return records


def _column(title: str, name: str) -> _Column:
    kind, slash, disk = title.partition("/")
    if not slash:
        kind, disk = "util", title
    word = name.strip().lstrip("#")[:4]
    if kind == "dsk" and (name.strip().startswith("#") or name.strip() in {"reads", "writes"}):
        kind = "tps"
    field, base = _FIELDS.get((kind, word), ("", 1))
    return _Column(disk, field, base)


def _records(columns: Sequence[_Column], words: Sequence[str]) -> Iterator[RateRecord]:
    found: dict[str, dict[str, float]] = {}
    for column, word in zip(columns, words, strict=True):
        if column.field:
            fields = found.setdefault(column.disk, {})
            if word not in {_MISSING, ""}:
                # --disk-tps counts what -r counts; where both are printed the first one is taken.
                fields.setdefault(column.field, _value(word, column.base))
    for disk, fields in found.items():
        yield RateRecord.model_validate({"disk": disk, **fields})


def _csv_rows(text: str) -> Iterator[tuple[list[_Column], list[str]]]:
    columns: list[_Column] = []
    titles: list[str] = []
    for row in csv.reader(text.splitlines()):
        if any(_is_disk_title(cell) for cell in row):
            titles = []
            for cell in row:  # a title stands above the first of its columns
                titles.append(cell or (titles[-1] if titles else ""))
        elif titles:
            width = max(len(titles), len(row))
            padded = titles + titles[-1:] * (width - len(titles))
            columns = [_column(one, name) for one, name in zip(padded, row, strict=False)]
            titles = []
        elif columns and row:
            if len(row) != len(columns):
                raise DstatError(
                    f"{','.join(row)!r} has {len(row)} columns, not the {len(columns)}"
                )
            yield columns, [word.strip() for word in row]
    if not columns:
        raise DstatError("no header with io/DISK, dsk/DISK or a disk's util: no output of dstat")


def _is_disk_title(cell: str) -> bool:
    return cell.startswith(("io/", "dsk/"))


def _text_rows(text: str) -> Iterator[tuple[list[_Column], list[str]]]:
    groups: list[list[_Column]] = []
    lines = text.splitlines()
    for above, line in pairwise(["", *lines]):
        is_names = "|" in line or _DISK_NAMES.fullmatch(line)
        if is_names and re.search(r"-[-\w/]|\w-", above) and re.search(r"[a-z]", line):
            groups = _header(above, line) or groups
            continue
        words = line.replace("|", " ").split()
        if groups and words and (words[0] == _MISSING or words[0][0].isdigit()):
            yield _row(groups, line, words)
    if not groups:
        raise DstatError("no header with io/DISK, dsk/DISK or a disk's util: no output of dstat")


def _header(titles: str, names: str) -> list[list[_Column]] | None:
    """Return the columns between two bars, for each such group; None if no disk is among them.

    Titles stand above the names, with dashes around them, one for each part between colons.
    """
    parts = [group.split(":") for group in names.split("|")]
    flat = [part for group in parts for part in group]
    if len(titles.rstrip()) == len(names.rstrip()):
        ends = [0]
        for part in flat:
            ends.append(ends[-1] + len(part) + 1)
        found = [titles[start : end - 1].strip("- ") for start, end in pairwise(ends)]
    else:
        found = [match["title"] for match in _TITLE.finditer(titles)]
    if len(found) != len(flat):
        raise DstatError(f"{titles.strip()!r} has {len(found)} titles for {len(flat)} parts below")
    rest = iter(found)
    groups = [
        [_column(title, name) for part in group for title in [next(rest)] for name in part.split()]
        for group in parts
    ]
    return groups if any(column.field for group in groups for column in group) else None


def _row(
    groups: list[list[_Column]], line: str, words: list[str]
) -> tuple[list[_Column], list[str]]:
    parts = line.split("|")
    if len(parts) == len(groups):
        columns: list[_Column] = []
        values: list[str] = []
        for group, part in zip(groups, parts, strict=True):
            if not any(column.field for column in group):
                continue  # the time, processors, memory, ...
            found = part.replace(":", " ").split()
            if len(found) != len(group):
                break
            columns += group
            values += found
        else:
            return columns, values
    flat = [column for group in groups for column in group]
    if len(words) != len(flat):
        raise DstatError(
            f"{line.strip()!r} has {len(words)} columns, not the {len(flat)} of its header"
        )
    return flat, words


def _value(word: str, base: int) -> float:
    found = _NUMBER.fullmatch(word)
    if found is None:
        raise DstatError(f"{word!r} is no number of dstat")
    power = max(_UNITS.index(found["unit"] or " ") - 1, 0)
    return float(found["number"]) * float(base) ** power


def table(records: Sequence[DiskRecord]) -> Iterator[str]:
    """Yield the lines in which dstat would show records of iostat, disk by disk."""
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
