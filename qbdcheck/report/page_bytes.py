"""Expected and seen bytes as hex and text, and stamps field by field, with what differs marked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby, zip_longest

from markupsafe import Markup, escape

from oracles.damage import Content, Damage, Difference, What
from oracles.finding import SECTOR, Finding

_IN_ROW = 16
"""Bytes in a row, as hexdump shows them."""
_FIRST = 3
"""Rows with a difference that are always shown."""


@dataclass(frozen=True)
class Cell:
    """A byte as hex and as a character, and whether it differs from the other side."""

    hex: str
    char: str
    differs: bool


@dataclass(frozen=True)
class Row:
    """Up to 16 bytes of both sides from ``offset`` on.

    :ivar note: what begins in this row, such as the place of a tear.
    :ivar left_out: number of rows before this one that are not shown.
    """

    offset: int
    expected: tuple[Cell, ...]
    seen: tuple[Cell, ...]
    note: str = ""
    left_out: int = 0


@dataclass(frozen=True)
class Comparison:
    """A finding in detail: its bytes, and the fields of its stamps.

    :ivar offset: of the first byte that differs.
    :ivar rows: around the first difference, and around a tear.
    :ivar whole: all rows of the sector; empty where ``rows`` has them all.
    :ivar left_out: rows behind the last of ``rows``.
    :ivar fields: (name, expected, seen, whether they differ).
    """

    finding: Finding
    offset: int
    rows: tuple[Row, ...]
    whole: tuple[Row, ...]
    left_out: int
    fields: tuple[tuple[str, str, str, bool], ...]


def hex_of(cells: Sequence[Cell]) -> Markup:
    """Return bytes in hexadecimal, with those that differ marked; ``nothing`` for none.

    The markup is made here: a template would take seconds for a page with many sectors.
    """
    runs = groupby(cells, key=lambda one: one.differs)
    parts = (_marked(" ".join(one.hex for one in run), differs) for differs, run in runs)
    return Markup(" ").join(parts) or Markup("nothing")


def chars_of(cells: Sequence[Cell]) -> Markup:
    """Return bytes as text, with those that differ marked."""
    runs = groupby(cells, key=lambda one: one.differs)
    return Markup("").join(
        _marked("".join(one.char for one in run), differs) for differs, run in runs
    )


def _marked(text: str, differs: bool) -> Markup:
    return Markup("<b>{}</b>").format(text) if differs else escape(text)


def comparison(finding: Finding) -> Comparison | None:
    """Return the details of a finding; None if it has neither bytes nor a stamp."""
    difference = finding.difference
    fields = (*_sectors(finding), *_fields(finding.expected, finding.seen))
    if difference is None and not fields:
        return None
    difference = difference or Difference(finding.offset, b"", b"")
    whole = tuple(_rows(finding, finding.sector_bytes or difference))
    kept = _kept(whole) if finding.sector_bytes else range(len(whole))
    last = [-1, *kept]
    rows = (replace(whole[at], left_out=at - last[n] - 1) for n, at in enumerate(kept))
    return Comparison(
        finding=finding,
        offset=difference.offset,
        rows=tuple(rows),
        whole=whole if len(kept) < len(whole) else (),
        left_out=len(whole) - 1 - last[-1],
        fields=fields,
    )


def _rows(finding: Finding, bytes_of: Difference) -> Iterator[Row]:
    """Yield all bytes in rows that end at a multiple of 16."""
    length = max(len(bytes_of.expected), len(bytes_of.seen))
    tears = _tears(finding)
    start = 0
    while start < length:
        end = start + _IN_ROW
        if finding.sector_bytes:
            end -= (bytes_of.offset + start) % _IN_ROW
        expected, seen = bytes_of.expected[start:end], bytes_of.seen[start:end]
        offset = bytes_of.offset + start
        notes = [
            f"{word} at byte {tear % SECTOR} of the sector"
            for tear, word in tears.items()
            if offset <= tear < bytes_of.offset + end
        ]
        yield Row(offset, _cells(expected, seen), _cells(seen, expected), "; ".join(notes))
        start = end


def _tears(finding: Finding) -> dict[int, str]:
    """Return the offsets at which the part of a sector that does not fit begins and ends."""
    if finding.part is None or finding.part == (0, SECTOR):
        return {}
    first, end = finding.part
    start = finding.first_difference // SECTOR * SECTOR
    if end - first == 1:
        return {start + first: "the byte that does not fit the rest is here,"}
    part = "the part that does not fit the rest"
    tears = {start + first: f"{part} begins"} if first else {}
    return tears | ({start + end: f"{part} ends"} if end < SECTOR else {})


def _kept(rows: Sequence[Row]) -> list[int]:
    """Return the rows to show: the first that differ, those at a tear, and one around each.

    A row whose neighbours on both sides are shown is shown, too.
    """
    wrong = [at for at, row in enumerate(rows) if any(one.differs for one in row.seen)
             or len(row.seen) != len(row.expected)]  # fmt: skip
    marked = [at for at, row in enumerate(rows) if row.note]
    wanted = {near for at in marked for near in (at - 1, at, at + 1)}
    wanted |= {near for at in wrong[:_FIRST] for near in (at - 1, at)} if wrong else set()
    wanted = {at for at in wanted if 0 <= at < len(rows)} or set(range(min(len(rows), _FIRST)))
    return sorted(wanted | {at for at in range(len(rows)) if {at - 1, at + 1} <= wanted})


def _cells(own: bytes, other: bytes) -> tuple[Cell, ...]:
    pairs = list(zip_longest(own, other))[: len(own)]
    return tuple(
        Cell(f"{one:02x}", chr(one) if 0x20 <= one < 0x7F else ".", one != two)
        for one, two in pairs
    )


def _fields(expected: Content | None, seen: Content | None) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the fields of the stamps; nothing if neither side is one."""
    sides = [side if side and side.what is What.STAMP else None for side in (expected, seen)]
    if sides == [None, None]:
        return
    for name in ("generation", "operation", "writer", "run", "volume"):
        texts = [_number(name, getattr(side, name)) if side else "" for side in sides]
        yield name, texts[0], texts[1], all(sides) and texts[0] != texts[1]


def _sectors(finding: Finding) -> Iterator[tuple[str, str, str, bool]]:
    """Yield the field with the number of the sector that each stamp was made for."""
    expected, seen = (
        side is not None and side.what is What.STAMP for side in (finding.expected, finding.seen)
    )
    if not expected and not seen:
        return
    own = finding.first_difference // SECTOR
    home: int | None = own
    if finding.damage is Damage.MISDIRECTED and finding.moved:
        home = own - finding.moved // SECTOR if finding.moved % SECTOR == 0 else None
    elif finding.damage in (Damage.MISDIRECTED, Damage.FOREIGN, Damage.SWAPPED, Damage.SHIFTED):
        home = None
    there = "not known" if home is None else str(home)
    yield "sector", str(own) if expected else "", there if seen else "", home != own


def _number(name: str, number: int | None) -> str:
    if number is None:
        return "not known"
    if name == "generation" and number == 0:
        return "0 (prefill)"
    return f"{number:#x}" if name in ("run", "volume") else str(number)
