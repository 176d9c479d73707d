"""Expected and seen bytes as hex and text, and stamps field by field, with what differs marked."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest

from oracles.damage import Content, Damage, Difference, What
from oracles.finding import SECTOR, Finding


@dataclass(frozen=True)
class Cell:
    """A byte as hex and as a character, and whether it differs from the other side."""

    hex: str
    char: str
    differs: bool


@dataclass(frozen=True)
class Comparison:
    """A finding in detail: its bytes from ``offset`` on, and the fields of its stamps.

    ``fields`` has (name, expected, seen, whether they differ).
    """

    finding: Finding
    offset: int
    expected: tuple[Cell, ...]
    seen: tuple[Cell, ...]
    fields: tuple[tuple[str, str, str, bool], ...]


def comparison(finding: Finding) -> Comparison | None:
    """Return the details of a finding; None if it has neither bytes nor a stamp."""
    difference = finding.difference
    fields = (*_sectors(finding), *_fields(finding.expected, finding.seen))
    if difference is None and not fields:
        return None
    difference = difference or Difference(finding.offset, b"", b"")
    return Comparison(
        finding=finding,
        offset=difference.offset,
        expected=_cells(difference.expected, difference.seen),
        seen=_cells(difference.seen, difference.expected),
        fields=fields,
    )


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
