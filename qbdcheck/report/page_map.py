"""The map of a volume around the damage: rows that zoom from the volume to the sectors.

Positions are percentages of the width, so the picture fits any width and its text stays readable.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from blockio.sizes import format_size
from oracles.damage import Operation
from oracles.finding import SECTOR, Finding
from qbdcheck.report.page_damage import MEANINGS, colour, letter

_AROUND = 8
"""Sectors that the last row shows on both sides of the first damage."""
_LONGEST = 64
"""The last row shows at most this many sectors of the first damage."""
_ZOOM = 0.7
"""A row is left out if it shows more than this share of the row above it."""
_NARROWEST = 0.05
"""A bar has at least this width in percent, so that it is drawn; its border makes it visible."""
_LETTER_ROOM = 1.5
"""A bar of at least this width in percent shows the letter of its damage."""
_QUARTERS = (0, 25, 50, 75, 100)
PREFILL = "prefill"


@dataclass(frozen=True)
class Bar:
    """A range in a row: where it is in percent, its class, and the text that hovering shows.

    ``letter``: of the kind of damage, if the bar has room for it. ``hatch``: a class as well.
    """

    left: str
    width: str
    kind: str
    title: str
    letter: str = ""
    hatch: str = ""

    @property
    def middle(self) -> str:
        """Where its letter is, in percent."""
        return f"{float(self.left.rstrip('%')) + float(self.width.rstrip('%')) / 2:.3f}%"


@dataclass(frozen=True)
class Row:
    """A row: the heading, marks of the axis (percent, text), damage, and the writes below it.

    ``allocation`` are the holes and the data that the block status reports.

    ``focus`` is the part that the next row shows, in percent; None in the last row.
    """

    heading: str
    marks: tuple[tuple[int, str], ...]
    damage: tuple[Bar, ...]
    writes: tuple[Bar, ...]
    allocation: tuple[Bar, ...] = ()
    focus: tuple[str, str] | None = None


@dataclass(frozen=True)
class VolumeMap:
    """The rows, and the legend: (class, kind of damage, meaning)."""

    rows: tuple[Row, ...]
    legend: tuple[tuple[str, str, str], ...]
    has_writes: bool
    has_home: bool
    has_followers: bool
    has_allocation: bool


def volume_map(findings: Sequence[Finding]) -> VolumeMap | None:
    """Return the map of the findings that have a place; None if there are none."""
    placed = [finding for finding in findings if finding.length > 0]
    if not placed:
        return None
    windows = _windows(placed)
    rows = [
        _row(placed, window, heading, windows[number + 1][0] if number + 1 < len(windows) else None)
        for number, (window, heading) in enumerate(windows)
    ]
    kinds = dict.fromkeys(finding.damage for finding in placed if not finding.follows)
    return VolumeMap(
        rows=tuple(rows),
        legend=tuple((colour(kind), kind.value, MEANINGS[kind]) for kind in kinds),
        has_writes=any(row.writes for row in rows),
        has_allocation=any(row.allocation for row in rows),
        has_followers=any(finding.follows for finding in placed),
        has_home=any(home_of(finding) is not None for finding in placed),
    )


def home_of(finding: Finding) -> int | None:
    """Return the offset at which misplaced data belongs; None if nothing is known of it."""
    if finding.moved is None or abs(finding.moved) < SECTOR:
        return None
    home = finding.offset - finding.moved
    return home if home >= 0 else None


_Window = tuple[int, int]


def _windows(placed: Sequence[Finding]) -> list[tuple[_Window, str]]:
    """Return what the rows show: (first byte, end) and a heading, the widest first."""
    size, is_known = _size(placed)
    name = f"Whole volume, {format_size(size)}" if is_known else "Volume, up to the last known byte"
    first, end = min(f.offset for f in placed), max(f.offset + f.length for f in placed)
    border = max((end - first) // 20, SECTOR)
    head = placed[0]
    start = (head.sector - _AROUND) * SECTOR
    stop = (head.sector + min(head.sectors, _LONGEST) + _AROUND) * SECTOR
    wanted = [
        ((0, size), name),
        (_clipped(first - border, end + border, size), "All damage"),
        (_clipped(start, stop, size), "First finding"),
    ]
    kept = wanted[:1]
    for window, heading in wanted[1:]:
        (left, right), _ = kept[-1]
        inside = max(window[0], left), min(window[1], right)
        if inside[1] - inside[0] <= _ZOOM * (right - left):
            kept.append((inside, heading))
    return [
        (
            window,
            heading if window[0] == 0 and window[1] == size else _with_sectors(heading, window),
        )
        for window, heading in kept
    ]


def _with_sectors(heading: str, window: _Window) -> str:
    return f"{heading}: sectors {window[0] // SECTOR} to {(window[1] - 1) // SECTOR}"


def _clipped(first: int, end: int, size: int) -> _Window:
    first, end = first // SECTOR * SECTOR, -(-end // SECTOR) * SECTOR
    return max(first, 0), min(end, size)


def _size(placed: Sequence[Finding]) -> tuple[int, bool]:
    """Return the size of the volume, and whether it is known: the prefill covers all of it."""
    writes = [write for finding in placed for write in finding.last_writes]
    prefills = [one.length for one in writes if one.text == PREFILL and one.offset == 0]
    ends = [one.offset + one.length for one in placed]
    ends += [one.offset + one.length for one in writes]
    return max(ends), bool(prefills) and max(prefills) == max(ends)


def _row(placed: Sequence[Finding], window: _Window, heading: str, inner: _Window | None) -> Row:
    damage = [_damage(window, one) for one in placed]
    homes = [(home, one) for one in placed if (home := home_of(one)) is not None]
    damage += [
        _bar(window, home, one.length, "home", f"belongs here: {one.line}") for home, one in homes
    ]
    writes = {
        write: _bar(window, write.offset, write.length, "write", _write_text(write))
        for one in placed
        for write in one.last_writes
        if write.text != PREFILL
    }
    focus = None
    if inner is not None:
        focus = (_percent(inner[0], window), _percent(inner[1], window))
    return Row(
        heading=heading,
        marks=tuple((part, _mark(window, part)) for part in _QUARTERS),
        damage=tuple(bar for bar in damage if bar),
        writes=tuple(bar for bar in writes.values() if bar),
        allocation=tuple(_allocation(placed, window)),
        focus=focus,
    )


def _damage(window: _Window, one: Finding) -> Bar | None:
    """Return the bar of a finding; what follows from another one is paler."""
    kind = colour(one.damage)
    follows = " follows" if one.follows else ""
    bar = _bar(window, one.offset, one.length, kind + follows, one.line)
    if bar is None:
        return None
    has_room = float(bar.width.rstrip("%")) >= _LETTER_ROOM
    return replace(bar, letter=letter(one.damage) if has_room else "", hatch=f"h{kind[1:]}")


def _write_text(write: Operation) -> str:
    generation = f", generation {write.generation}" if write.generation else ""
    return f"{write}{generation}"


def _allocation(placed: Sequence[Finding], window: _Window) -> Iterator[Bar]:
    """Yield what the block status reports of a window; each range once."""
    ranges = dict.fromkeys(one for finding in placed for one in finding.allocation)
    for offset, length, is_hole in ranges:
        name = "hole" if is_hole else "data"
        text = f"block status: {name}, {offset}+{length}"
        if (bar := _bar(window, offset, length, name, text)) is not None:
            yield bar


def _bar(window: _Window, offset: int, length: int, kind: str, title: str) -> Bar | None:
    first, end = max(offset, window[0]), min(offset + length, window[1])
    if first >= end:
        return None
    width = max(100 * (end - first) / (window[1] - window[0]), _NARROWEST)
    return Bar(_percent(first, window), f"{width:.3f}%", kind, title)


def _percent(offset: int, window: _Window) -> str:
    return f"{100 * (offset - window[0]) / (window[1] - window[0]):.3f}%"


def _mark(window: _Window, part: int) -> str:
    return f"{window[0] + (window[1] - window[0]) * part // 100:#x}"
