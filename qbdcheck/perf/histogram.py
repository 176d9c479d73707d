"""Histograms of latencies that can be merged: HdrHistogram, an optional dependency.

A histogram has 3 significant digits from 1 ns to one hour (http://hdrhistogram.org). Its text form
is the base64 form of all HdrHistogram libraries, so results of other tools can be merged with it.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from typing import Any

from qbdcheck.errors import SetupError

_LONGEST_NS = 3_600_000_000_000
_DIGITS = 3
PERCENTILES = (50.0, 90.0, 99.0, 99.9)


class Histogram:
    """Numbers of requests by latency.

    :raise SetupError: the package hdrhistogram is not installed.
    """

    def __init__(self, latencies_ns: Mapping[int, int] | None = None) -> None:
        self._counts = _library()(1, _LONGEST_NS, _DIGITS)
        for latency_ns, count in (latencies_ns or {}).items():
            self.record(latency_ns, count)

    def record(self, latency_ns: int, count: int = 1) -> None:
        """Count requests; those above an hour count as one hour."""
        self._counts.record_value(min(max(latency_ns, 1), _LONGEST_NS), count)

    def add(self, other: Histogram) -> None:
        """Add all requests of another histogram."""
        self._counts.add(other._counts)

    @property
    def total(self) -> int:
        """The number of requests."""
        return int(self._counts.get_total_count())

    def percentile_ns(self, percent: float) -> int:
        """Return the latency that so many percent of the requests do not exceed; 0 without any."""
        return int(self._counts.get_value_at_percentile(percent))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and bool(self._counts.equals(other._counts))

    __hash__ = None  # type: ignore[assignment]

    def encode(self) -> str:
        """Return the text form."""
        text = self._counts.encode()
        return text.decode("ascii") if isinstance(text, bytes) else str(text)

    @classmethod
    def decode(cls, text: str) -> Histogram:
        """Return the histogram of a text form.

        :raise ValueError: it is none.
        """
        made = cls()
        try:
            made._counts.decode_and_add(text)
        except Exception as error:  # the library raises errors of zlib and its own
            raise ValueError(f"not a histogram: {error}") from None
        return made


def merged(every: Iterable[Mapping[int, int]]) -> Histogram:
    """Return one histogram of the latencies of many samples.

    :raise SetupError: the package hdrhistogram is not installed.
    """
    result = Histogram()
    for one in every:
        result.add(Histogram(one))
    return result


def _library() -> Any:
    try:
        from hdrh.histogram import HdrHistogram
    except ImportError:
        raise SetupError(
            "./check perf needs the package hdrhistogram; install it by:"
            f" {sys.executable} -m pip install hdrhistogram"
        ) from None
    return HdrHistogram
