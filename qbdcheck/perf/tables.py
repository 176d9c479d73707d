"""The tables of ``./check perf``, at most 80 columns wide."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from qbdcheck.perf.gate import ALL_SHAPES, Row
from qbdcheck.perf.histogram import merged
from qbdcheck.perf.rounds import Measured
from qbdcheck.perf.sample import CLIENT, IOPS, SERVER
from qbdcheck.perf.statistics import median_of


def figures(measured: Measured, target: str) -> Iterator[str]:
    """Yield the lines of the medians of a target, of all shapes."""
    yield (
        f"{target[:25]:<26}{'IOPS':>8}{'MB/s':>8}{'p50':>8}{'p99':>8}{'p99.9':>8}"
        f"{'server':>7}{'client':>7}"
    )
    for shape in measured.shapes:
        samples = measured.samples[target][shape]
        latencies = merged(one.latencies_ns for one in samples)
        times = [_time(latencies.percentile_ns(one)) for one in (50, 99, 99.9)]
        if not latencies.total:
            times = ["-"] * 3
        cpu = [measured.values(target, shape, metric) for metric in (SERVER, CLIENT)]
        yield (
            f"{shape.label:<26}{median_of(measured.values(target, shape, IOPS)).value:>8.0f}"
            f"{median_of([one.bytes_per_s for one in samples]).value / 1e6:>8.1f}"
            f"{times[0]:>8}{times[1]:>8}{times[2]:>8}"
            + "".join(f"{median_of(one).value:>7.1f}" if one else f"{'-':>7}" for one in cpu)
        )


def _time(nanoseconds: int) -> str:
    if nanoseconds < 1e6:
        return f"{nanoseconds / 1e3:.0f}us"
    return f"{nanoseconds / 1e6:.1f}ms" if nanoseconds < 1e9 else f"{nanoseconds / 1e9:.2f}s"


UNITS = "latency: p50, p99, p99.9 of all rounds; server, client: us of CPU per request"
"""The line below the first table."""


def comparison(rows: Sequence[Row], target: str, other: str) -> Iterator[str]:
    """Yield the lines of a comparison: the ratio target / other with its interval."""
    title = f"{target} / {other}"
    yield f"{title[:39]:<40}{'ratio':>6}  {'95% interval':<15} answer"
    for row in rows:
        ratio = row.ratio
        name = f"{row.label} {row.metric.name}"
        interval = f"{ratio.low:.2f} - {ratio.high:.2f}"
        mark = "* " if row.label == ALL_SHAPES else "  "
        yield f"{mark}{name:<38}{ratio.value:>6.2f}  {interval:<15} {row.word}"
