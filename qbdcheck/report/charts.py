"""Small charts as SVG text: bars with intervals, and lines over time with shaded spans.

The page of a run has its own style sheet (page.css) with colours for light and dark; these charts
use it, so they need no library and no script.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

_WIDTH, _ROW, _LEFT, _TOP = 760, 22, 270, 26
_PLOT = _WIDTH - _LEFT - 70
_HEIGHT, _BOTTOM, _AXIS = 240, 26, 64


@dataclass(frozen=True)
class Bar:
    """A value with its interval. ``tone``: a class of the style sheet: pass, fail or dim."""

    label: str
    value: float
    low: float
    high: float
    tone: str = "dim"
    text: str = ""


def ratios(title: str, bars: Sequence[Bar]) -> str:
    """Return a chart of ratios on a logarithmic axis around 1: a mark and its interval."""
    ends = [one for bar in bars for one in (bar.low, bar.high, 1.0)]
    reach = max(abs(math.log(one)) for one in ends) * 1.05 or 0.1

    def x_of(ratio: float) -> float:
        return _LEFT + (math.log(ratio) + reach) / (2 * reach) * _PLOT

    height = _TOP + _ROW * len(bars) + _BOTTOM
    parts = [_head(title, _WIDTH, height)]
    for tick in _ratio_ticks(reach):
        at = x_of(tick)
        bold = ' stroke-width="2"' if tick == 1 else ""
        parts.append(
            f'<line class="axis" x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP - 4}"'
            f' y2="{height - _BOTTOM}"{bold}/>'
            f'<text x="{at:.1f}" y="{height - 8}" text-anchor="middle">{tick:g}</text>'
        )
    for number, bar in enumerate(bars):
        middle = _TOP + _ROW * number + _ROW / 2
        parts.append(
            f'<g class="{bar.tone}"><title>{escape(bar.label)}: {bar.value:.3f}'
            f" ({bar.low:.3f} to {bar.high:.3f}) {escape(bar.text)}</title>"
            f'<text x="{_LEFT - 8}" y="{middle + 4}" text-anchor="end">{escape(bar.label)}</text>'
            f'<line class="range" x1="{x_of(bar.low):.1f}" x2="{x_of(bar.high):.1f}"'
            f' y1="{middle}" y2="{middle}"/>'
            f'<circle cx="{x_of(bar.value):.1f}" cy="{middle}" r="4"/>'
            f'<text x="{_WIDTH - 4}" y="{middle + 4}" text-anchor="end">{bar.value:.2f}</text></g>'
        )
    return "\n".join([*parts, "</svg>"])


def _ratio_ticks(reach: float) -> Iterator[float]:
    for tick in (0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 1.0, 1.05, 1.1, 1.25, 2.0, 5.0, 10.0):
        near = reach < 0.3
        if abs(math.log(tick)) <= reach and (near or tick not in {0.9, 0.95, 1.05, 1.1}):
            yield tick


@dataclass(frozen=True)
class Span:
    """A shaded time, in seconds, such as that of a fault."""

    start_s: float
    end_s: float
    label: str


@dataclass(frozen=True)
class Line:
    """A line: (seconds, milliseconds) from left to right. ``tone``: k0 to k9 of the style sheet."""

    label: str
    points: Sequence[tuple[float, float]]
    tone: str


def latencies(title: str, lines: Sequence[Line], spans: Sequence[Span], limit_ms: float) -> str:
    """Return a chart of latencies over time on a logarithmic axis.

    :param spans: are shaded. :param limit_ms: a dashed line.
    """
    every = [(at, max(value, 0.01)) for line in lines for at, value in line.points]
    last_s = max([at for at, _ in every] + [span.end_s for span in spans] + [0.1])
    values = [value for _, value in every] + [limit_ms]
    low = math.floor(math.log10(min(values)))
    high = max(math.ceil(math.log10(max(values))), low + 1)
    right = _WIDTH - 12

    def x_of(seconds: float) -> float:
        return _AXIS + seconds / last_s * (right - _AXIS)

    def y_of(value_ms: float) -> float:
        share = (math.log10(max(value_ms, 10**low)) - low) / (high - low)
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _BOTTOM - _TOP)

    parts = [_head(title, _WIDTH, _HEIGHT + 18)]
    for span in spans:
        start, end = x_of(span.start_s), x_of(span.end_s)
        parts.append(
            f'<rect class="fault" x="{start:.1f}" y="{_TOP}" width="{max(end - start, 1):.1f}"'
            f' height="{_HEIGHT - _BOTTOM - _TOP}"><title>{escape(span.label)}</title></rect>'
            f'<text x="{start + 3:.1f}" y="{_TOP + 12}">{escape(span.label)}</text>'
        )
    for power in range(low, high + 1):
        y = y_of(10**power)
        parts.append(
            f'<line class="axis" x1="{_AXIS}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>'
            f'<text x="{_AXIS - 6}" y="{y + 4:.1f}" text-anchor="end">{_duration(power)}</text>'
        )
    y = y_of(limit_ms)
    parts.append(f'<line class="limit" x1="{_AXIS}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
    for number, line in enumerate(lines):
        points = " ".join(f"{x_of(at):.1f},{y_of(value):.1f}" for at, value in line.points)
        parts.append(
            f'<g class="{line.tone}"><polyline points="{points}"/>'
            f'<text x="{_AXIS + 90 * number}" y="{_HEIGHT + 12}">{escape(line.label)}</text></g>'
        )
    parts += [
        f'<text x="{x_of(last_s * part / 4):.1f}" y="{_HEIGHT - 8}"'
        f' text-anchor="{"end" if part == 4 else "middle"}">'
        f"{last_s * part / 4:.1f} s</text>"
        for part in range(5)
    ]
    return "\n".join([*parts, "</svg>"])


def _duration(power: int) -> str:
    """Return 10^power milliseconds in words."""
    return f"{10 ** (power - 3)} s" if power >= 3 else f"{10**power:g} ms"


def _head(title: str, width: int, height: int) -> str:
    return (
        f'<svg class="chart" role="img" aria-label="{escape(title)}" width="{width}"'
        f' height="{height}" viewBox="0 0 {width} {height}">'
        f'<text class="head" x="4" y="14">{escape(title)}</text>'
    )
