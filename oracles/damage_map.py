"""A disk image as a picture: cells in the order of the sectors, coloured by their contents.

A cell stands for one or several sectors. It has the colour of the worst of them.
"""

from __future__ import annotations

import enum
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

CELLS = 4096
"""The most cells in a picture; in a larger image a cell stands for several sectors."""
_COLUMNS, _SIDE, _TOP, _LEFT = 64, 13, 40, 110


class Kind(enum.IntEnum):
    """Kinds of contents of a sector, the harmless ones first."""

    ZEROES = 0
    PREFILL = 1
    WRITTEN = 2
    OTHER = 3
    MIXED = 4
    DAMAGED = 5
    MISDIRECTED = 6


KINDS: tuple[tuple[Kind, str, str], ...] = (
    (Kind.ZEROES, "#f2f2f2", "zeroes"),
    (Kind.PREFILL, "#c6d9f0", "prefill, where it belongs"),
    (Kind.WRITTEN, "#9bbb59", "a write, where it belongs"),
    (Kind.OTHER, "#b3a2c7", "data that is no stamp"),
    (Kind.MIXED, "#f79646", "another volume or run than most"),
    (Kind.DAMAGED, "#e36c0a", "torn, or a damaged stamp"),
    (Kind.MISDIRECTED, "#c00000", "misdirected: a stamp of another place"),
)
"""Kind, colour and description."""

Owner = tuple[int, int]
"""Run and volume of a stamp."""


@dataclass(frozen=True)
class Stretch:
    """A run of sectors with the same description. ``first`` and ``count`` are in sectors."""

    first: int
    count: int
    text: str
    kind: Kind
    owner: Owner | None = None


def kind_of(stretch: Stretch, owner: Owner | None) -> Kind:
    """Return the kind of a stretch on a volume of which most stamps have this owner."""
    belongs = stretch.kind in (Kind.PREFILL, Kind.WRITTEN)
    return Kind.MIXED if belongs and stretch.owner != owner else stretch.kind


def owner_of(stretches: Sequence[Stretch]) -> Owner | None:
    """Return the run and volume of most sectors; None where there is no stamp."""
    counts: Counter[Owner] = Counter()
    for stretch in stretches:
        if stretch.owner is not None:
            counts[stretch.owner] += stretch.count
    return max(counts, key=counts.__getitem__, default=None)


def svg(stretches: Sequence[Stretch], title: str) -> str:
    """Return the picture as SVG; hovering over a cell shows its sectors and contents."""
    first = stretches[0].first if stretches else 0
    end = stretches[-1].first + stretches[-1].count if stretches else 0
    per_cell = max(1, -(-(end - first) // CELLS))
    cells: dict[int, tuple[Kind, Stretch]] = {}
    owner = owner_of(stretches)
    for stretch in stretches:
        rank = kind_of(stretch, owner)
        low, high = stretch.first - first, stretch.first + stretch.count - first
        for cell in range(low // per_cell, -(-high // per_cell)):
            if cell not in cells or rank > cells[cell][0]:
                cells[cell] = (rank, stretch)
    rows = -(-len(cells) // _COLUMNS)
    width = _LEFT + _COLUMNS * _SIDE + 10
    height = _TOP + rows * _SIDE + 24 * len(KINDS) + 20
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="10" y="18" font-weight="bold">{escape(title)}</text>',
        f'<text x="10" y="34">{end - first} sectors of 512 bytes, {per_cell} a cell</text>',
    ]
    for cell, (rank, stretch) in sorted(cells.items()):
        row, column = divmod(cell, _COLUMNS)
        x, y = _LEFT + column * _SIDE, _TOP + row * _SIDE
        sector = first + cell * per_cell
        text = escape(f"sector {sector}: {stretch.text}")
        parts.append(
            f'<rect x="{x}" y="{y}" width="{_SIDE - 1}" height="{_SIDE - 1}"'
            f' fill="{KINDS[rank][1]}"><title>{text}</title></rect>'
        )
        if not column and row % 4 == 0:
            parts.append(f'<text x="10" y="{y + 10}" font-size="10">{sector * 512:#x}</text>')
    for number, (_, colour, words) in enumerate(KINDS):
        y = _TOP + rows * _SIDE + 12 + 24 * number
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="16" height="16" fill="{colour}"/>')
        parts.append(f'<text x="{_LEFT + 24}" y="{y + 13}">{escape(words)}</text>')
    return "\n".join([*parts, "</g>", "</svg>\n"])
