"""The HTML pages of ``./check perf``: one file without a script, with charts and tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from qbdcheck.report.charts import Bar, Line, Span, latencies, ratios
from qbdcheck.report.page_style import style

_TONES = {"faster": "pass", "cheaper": "pass", "slower": "fail", "dearer": "fail"}


def matrix(document: Mapping[str, Any]) -> str:
    """Return the page of a matrix: the document is that of ``--json``."""
    parts = [_facts(document)]
    for one in document["comparisons"]:
        parts.append(_verdict(one))
        for metric in dict.fromkeys(row["metric"] for row in one["rows"]):
            rows = [row for row in one["rows"] if row["metric"] == metric]
            bars = [
                Bar(row["shape"], **row["ratio"], tone=_TONES.get(row["answer"], "dim"),
                    text=row["answer"])
                for row in rows
            ]  # fmt: skip
            title = f"{metric}: {document['target']} / {one['other']}, with 95% intervals"
            parts.append(ratios(title, bars))
    parts.append(_figures(document["shapes"]))
    return _page(f"perf: {document['target']}", parts)


def _verdict(compared: Mapping[str, Any]) -> str:
    if compared["limit"] is None:
        return f"<h2>Compared with {escape(compared['other'])}</h2>"
    wrong = compared["regressions"]
    tone = "fail" if wrong else "pass"
    text = (
        f"a regression of more than {compared['limit']:.0%} in: {', '.join(wrong)}"
        if wrong
        else f"no regression of more than {compared['limit']:.0%} is shown"
    )
    return (
        f"<h2>Compared with {escape(compared['other'])}</h2>"
        f'<p class="lead {tone}">{escape(text)}</p>'
    )


def _facts(document: Mapping[str, Any]) -> str:
    noise = document["noise"]
    facts = {
        **document["machine"],
        "fingerprint": document["fingerprint"],
        "noise": f"other programs used {noise['others']:.0%} of the CPU;"
        f" the same work took {noise['spread']:.1%} more or less time",
    }
    rows = "".join(
        f"<dt>{escape(key)}</dt><dd>{escape(value)}</dd>" for key, value in facts.items()
    )
    return f"<dl>{rows}</dl>"


def _figures(shapes: Sequence[Mapping[str, Any]]) -> str:
    head = ("target", "shape", "IOPS", "MB/s", "p50", "p99", "p99.9", "server us", "client us")
    lines = [f"<tr>{''.join(f'<th>{one}</th>' for one in head)}</tr>"]
    for shape in shapes:
        percentiles = [
            f"{shape['percentiles_ns'][one] / 1e3:.0f} us" if shape["percentiles_ns"] else ""
            for one in ("50", "99", "99.9")
        ]
        cells = [
            shape["target"],
            shape["shape"],
            _interval(shape["medians"].get("IOPS"), 0),
            f"{shape['bytes_per_s']['value'] / 1e6:.1f}",
            *percentiles,
            _interval(shape["medians"].get("server CPU"), 1),
            _interval(shape["medians"].get("client CPU"), 1),
        ]
        lines.append(f"<tr>{''.join(f'<td>{escape(one)}</td>' for one in cells)}</tr>")
    return f"<h2>Figures</h2><table>{''.join(lines)}</table>"


def _interval(estimate: Mapping[str, float] | None, digits: int) -> str:
    if estimate is None:
        return ""
    low, high = f"{estimate['low']:.{digits}f}", f"{estimate['high']:.{digits}f}"
    return f"{estimate['value']:.{digits}f} ({low} - {high})"


def faults(document: Mapping[str, Any]) -> str:
    """Return the page of latencies under faults."""
    limit_s = document["failover_s"]
    parts = []
    for one in document["faults"]:
        tone = "fail" if one["longest_stall_s"] > limit_s else "pass"
        parts.append(
            f"<h2>{escape(one['fault'])}</h2>"
            f'<p class="lead {tone}">longest stall {one["longest_stall_s"]:.3f} s;'
            f" the profile allows {limit_s:g} s</p>"
        )
        tones = {"50": "k3", "99": "k1", "100": "k0"}
        lines = [
            Line("longest" if percent == "100" else f"p{percent}",
                 [(point["at_s"], point[percent]) for point in one["over_time_ms"]], tone)
            for percent, tone in tones.items()
        ]  # fmt: skip
        spans = [Span(span["start_s"], span["end_s"], span["label"]) for span in one["spans"]]
        parts.append(latencies(f"latency: {one['fault']}", lines, spans, limit_s * 1000))
    return _page(f"latency under faults: {document['target']}", parts)


def _page(title: str, parts: Sequence[str]) -> str:
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{style()}</style></head><body>\n"
        f"<h1>{escape(title)}</h1>\n" + "\n".join(parts) + "\n</body></html>\n"
    )
