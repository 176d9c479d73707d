"""Histograms of parts add up to that of the whole, also after a trip through their text."""

from __future__ import annotations

import random
import sys

import pytest

from qbdcheck.errors import SetupError
from qbdcheck.perf import histogram
from qbdcheck.perf.histogram import Histogram, merged

# tox and CI install it: the extra dev has it
pytest.importorskip("hdrh", reason="hdrhistogram is not installed")


def test_parts_add_up() -> None:
    draw = random.Random(4)
    parts = [{int(draw.lognormvariate(11, 1)): draw.randint(1, 9) for _ in range(300)}
             for _ in range(5)]  # fmt: skip
    whole = Histogram()
    for part in parts:
        for latency_ns, count in part.items():
            whole.record(latency_ns, count)
    found = merged(parts)
    assert found == whole and found.total == sum(sum(one.values()) for one in parts)
    every = sorted(ns for part in parts for ns, count in part.items() for _ in range(count))
    for percent in histogram.PERCENTILES:
        exact = every[min(int(len(every) * percent / 100), len(every) - 1)]
        assert found.percentile_ns(percent) == pytest.approx(exact, rel=0.02)


def test_a_trip_through_text_changes_nothing() -> None:
    found = merged([{5000: 3, 7_000_000: 1}])
    assert Histogram.decode(found.encode()) == found
    assert found != Histogram({5000: 3})
    with pytest.raises(ValueError, match="not a histogram"):
        Histogram.decode("HISTbroken")


def test_what_does_not_fit_counts_at_the_ends() -> None:
    found = Histogram({0: 1, 10**15: 1})
    assert found.total == 2


def test_a_missing_package_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "hdrh.histogram", None)
    with pytest.raises(SetupError, match="pip install hdrhistogram"):
        Histogram()
