"""A history as a picture: a lane for each client, a bar for each request, from call to return."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from oracles.linearizability import NEVER, Access, Anomaly

_WIDTH, _LANE, _LEFT, _TOP = 960, 44, 90, 72
_COLOURS = {True: "#c0504d", False: "#4f81bd"}
_STYLE = (
    "<style>text{fill:#222}.back{fill:#fff}.axis{stroke:#ddd}.cycle{stroke:#000}"
    "@media (prefers-color-scheme:dark){text{fill:#ddd}.back{fill:#16181d}.axis{stroke:#444}"
    ".cycle{stroke:#fff}}</style>"
)
_LEGEND = "Red: writes. Blue: reads. Framed: the requests that contradict each other. Pale: others."
_AROUND = 40
_MS = 1000
"""Microseconds of a millisecond."""


def timeline(anomaly: Anomaly, history: Sequence[Access], unit: str = "us") -> str:
    """Return an SVG of an anomaly and of the other requests to its sector at that time.

    :param unit: of the times of the history, for the axis.
    """
    begin = min(access.call for access in anomaly.cycle if access.call != float("-inf"))
    ends = [access.returned for access in anomaly.cycle if access.returned != NEVER]
    end = max([*ends, begin + 1])
    chosen = [
        access
        for access in history
        if access.sector == anomaly.sector and access.returned >= begin and access.call <= end
    ]
    chosen = list(dict.fromkeys([*anomaly.cycle, *chosen[:_AROUND]]))
    clients = sorted({access.client for access in chosen})
    scale = (_WIDTH - _LEFT - 20) / (end - begin)
    height = _TOP + _LANE * len(clients) + 40
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{height}">',
        _STYLE,
        '<g font-family="sans-serif" font-size="12">',
        f'<rect class="back" width="{_WIDTH}" height="{height}"/>',
        f'<text x="10" y="20" font-weight="bold">sector {anomaly.sector}</text>',
        f'<text x="10" y="38">{escape(anomaly.plain or anomaly.text)}</text>',
        f'<text x="10" y="56" font-size="11">{_LEGEND}</text>',
    ]
    for number, client in enumerate(clients):
        y = _TOP + number * _LANE
        parts.append(f'<text x="10" y="{y + 22}">{_name(client)}</text>')
        parts.append(
            f'<line x1="{_LEFT}" y1="{y + _LANE - 4}" x2="{_WIDTH - 10}" y2="{y + _LANE - 4}"'
            ' class="axis"/>'
        )
        for access in chosen:
            if access.client == client:
                parts += _bar(access, y, begin, end, scale, access in anomaly.cycle)
    base = height - 12
    parts.append(f'<text x="{_LEFT}" y="{base}">0</text>')
    length = f"{end - begin:,.0f} {unit}"
    if unit == "us" and end - begin >= _MS:
        length = f"{(end - begin) / _MS:,.1f} ms"
    parts.append(f'<text x="{_WIDTH - 20}" y="{base}" text-anchor="end">{length}</text>')
    return "\n".join([*parts, "</g>", "</svg>\n"])


def _name(client: int) -> str:
    """Return the name of a lane; what was there before all requests has the number 0."""
    return f"client {client}" if client else "before"


def _bar(  # noqa: PLR0917  # the picture's measures
    access: Access, y: int, begin: float, end: float, scale: float, chosen: bool
) -> list[str]:
    left = _LEFT + (max(access.call, begin) - begin) * scale
    right = _LEFT + (min(access.returned, end) - begin) * scale
    width = max(right - left, 3)
    colour = _COLOURS[access.is_write]
    style = 'class="cycle" stroke-width="2"' if chosen else 'fill-opacity="0.35"'
    text = f"{'w' if access.is_write else 'r'} #{access.value}"
    title = f"<title>{escape(str(access))}</title>"
    bar = (
        f'<rect x="{left:.1f}" y="{y + 4}" width="{width:.1f}" height="20" fill="{colour}"'
        f" {style}>{title}</rect>"
    )
    label = f'<text x="{left:.1f}" y="{y + 36}" font-size="10">{text}</text>'
    return [bar, label] if chosen else [bar]
