"""A disk image as a picture: cells in the order of the sectors, coloured by what is there.

A cell stands for one sector or for many; it has the colour of the worst that is in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Protocol

CELLS = 4096
"""At most so many cells; beyond that one stands for several sectors."""
_COLUMNS, _SIDE, _TOP, _LEFT = 64, 13, 40, 110
KINDS: tuple[tuple[str, str, str], ...] = (
    ("zeroes", "#f2f2f2", "zeroes"),
    ("prefill", "#c6d9f0", "prefill, where it belongs"),
    ("written", "#9bbb59", "a write, where it belongs"),
    ("other", "#b3a2c7", "data that is no stamp"),
    ("mixed", "#f79646", "another volume or run than most"),
    ("damaged", "#e36c0a", "torn, or a damaged stamp"),
    ("misdirected", "#c00000", "misdirected: a stamp of another place"),
)
"""Kind, colour and words, the harmless first."""
_RANK = {kind: rank for rank, (kind, _, _) in enumerate(KINDS)}


class Stretch(Protocol):
    """A run of sectors of which the same can be said (`oracles.inspection.Stretch`)."""

    @property
    def first(self) -> int:
        """Number of the first sector."""
        ...

    @property
    def count(self) -> int:
        """Sectors."""
        ...

    @property
    def text(self) -> str:
        """What is said of them."""
        ...


def kind_of(text: str, owner: str) -> str:
    """Return the kind of a description of `oracles.inspection`.

    :param owner: ``run R, volume V`` of most stamps.
    """
    if "MISDIRECTED" in text:
        return "misdirected"
    if text == "zeroes":
        return "zeroes"
    if "damaged" in text:
        return "damaged"
    if ", run " not in text:
        return "other"
    if owner not in text:
        return "mixed"
    return "prefill" if text.startswith("prefill") else "written"


def owner_of(stretches: Sequence[Stretch]) -> str:
    """Return the run and volume that most sectors are of; empty where there is no stamp."""
    counts: dict[str, int] = {}
    for stretch in stretches:
        at = stretch.text.find("run 0x")
        if at >= 0:
            owner = stretch.text[at:].partition(", MISDIRECTED")[0]
            counts[owner] = counts.get(owner, 0) + stretch.count
    return max(counts, key=counts.__getitem__, default="")


def svg(stretches: Sequence[Stretch], title: str) -> str:
    """Return the picture as SVG; each cell tells its sectors and contents when pointed at."""
    first = stretches[0].first if stretches else 0
    end = stretches[-1].first + stretches[-1].count if stretches else 0
    per_cell = max(1, -(-(end - first) // CELLS))
    cells: dict[int, tuple[int, Stretch]] = {}
    owner = owner_of(stretches)
    for stretch in stretches:
        rank = _RANK[kind_of(stretch.text, owner)]
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
