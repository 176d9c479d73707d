"""A crash state as a picture: the writes since the last flush, and which of them are missing."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from oracles.crash_states.epochs import Epoch
from oracles.crash_states.states import CrashStates, StateId

_WIDTH, _LEFT, _ROW, _TOP = 960, 330, 22, 76
_ROWS = 40
"""Writes that are shown; the missing ones come before the others if there are more."""
_COLOURS = {"there": "#4f81bd", "lost": "none", "torn": "#f0b03a"}


def picture(states: CrashStates, state: StateId) -> str:
    """Return an SVG of a state: a row for each write since the last flush, by offset."""
    epoch = states.epochs[state.epoch]
    writes = list(_writes(epoch, state.mask))
    missing = [one for one in writes if one[1] != "there"]
    shown = writes if len(writes) <= _ROWS else sorted((missing + writes)[:_ROWS])
    shown = list(dict.fromkeys(shown))
    low = min((epoch.variants[at].offset for at, _ in shown), default=0)
    high = max(
        (epoch.variants[at].offset + epoch.variants[at].length for at, _ in shown), default=1
    )
    height = _TOP + _ROW * len(shown) + 44
    flush = f"the flush at entry {epoch.first - 1} of the log" if state.epoch else "the first flush"
    when = "after" if state.epoch else "before"
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
        '<g font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{height}" fill="white"/>',
        (
            f'<text x="10" y="20" font-weight="bold">crash state {state}: a power cut {when}'
            f" {flush}"
            f" (epoch {state.epoch} of {len(states.epochs)})</text>"
        ),
        f'<text x="10" y="38">{escape(states.describe(state))}</text>',
        (
            f'<text x="10" y="60" fill="#666">writes before: all there; {len(writes)} writes'
            f" in the epoch, {len(missing)} of them not whole, {len(shown)} shown</text>"
        ),
    ]
    scale = (_WIDTH - _LEFT - 20) / max(high - low, 1)
    for number, (at, fate) in enumerate(shown):
        parts += _row(epoch, at, fate, _TOP + _ROW * number, (low, scale))
    base = height - 14
    parts += [
        f'<line x1="{_LEFT}" y1="{base - 16}" x2="{_WIDTH - 20}" y2="{base - 16}" stroke="#666"/>',
        f'<text x="{_LEFT}" y="{base}">{low:#x}</text>',
        f'<text x="{_WIDTH - 20}" y="{base}" text-anchor="end">{high:#x}</text>',
    ]
    return "\n".join([*parts, "</g>", "</svg>\n"])


def _writes(epoch: Epoch, mask: int) -> Iterator[tuple[int, str]]:
    """Yield the variant of each whole write of an epoch, and what became of it."""
    for whole, group in zip(epoch.wholes, epoch.groups, strict=True):
        fate = "there" if mask & whole else "torn" if mask & group else "lost"
        yield whole.bit_length() - 1, fate


def _row(epoch: Epoch, at: int, fate: str, y: int, axis: tuple[int, float]) -> Iterator[str]:
    write, (low, scale) = epoch.variants[at], axis
    kind = "discard" if write.data is None else "write"
    fua = " with FUA" if write.write in epoch.fuas else ""
    style = ' stroke="#c0504d" stroke-width="2" stroke-dasharray="4 3"' if fate == "lost" else ""
    colour = "#c0504d" if fate != "there" else "black"
    name = f"entry {write.entry}: {kind} {write.offset}+{write.length}{fua}"
    left, width = _LEFT + (write.offset - low) * scale, max(write.length * scale, 3)
    yield f'<text x="10" y="{y + 14}" fill="{colour}">{name}, {fate}</text>'
    yield (
        f'<rect x="{left:.1f}" y="{y + 2}" width="{width:.1f}" height="14"'
        f' fill="{_COLOURS[fate]}"{style}><title>{name}, {fate}</title></rect>'
    )
