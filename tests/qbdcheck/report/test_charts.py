"""Charts are well-formed SVG, and show values, intervals and spans where they belong."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from qbdcheck.report.charts import Bar, Line, Span, latencies, ratios

_SVG = "{http://www.w3.org/2000/svg}"


def _parsed(text: str) -> ET.Element:
    assert "xmlns" not in text  # it is part of a page
    return ET.fromstring(text.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1))


def test_a_ratio_is_between_the_ends_of_its_interval() -> None:
    bars = [Bar("a <b> & c", 1.2, 1.1, 1.3, "fail"), Bar("same", 1.0, 0.9, 1.1)]
    found = _parsed(ratios("t", bars))
    groups = found.findall(f"{_SVG}g")
    assert [one.get("class") for one in groups] == ["fail", "dim"]
    for group in groups:
        line, circle = group.find(f"{_SVG}line"), group.find(f"{_SVG}circle")
        assert line is not None and circle is not None
        ends = float(line.get("x1", "")), float(line.get("x2", ""))
        assert ends[0] < float(circle.get("cx", "")) < ends[1]
    first, second = (float(one.find(f"{_SVG}circle").get("cx")) for one in groups)  # type: ignore[union-attr, arg-type]
    assert first > second


def test_a_span_shades_its_time_and_longer_latencies_are_higher() -> None:
    lines = [Line("p99", [(0.0, 1.0), (5.0, 1000.0), (10.0, 1.0)], "k1")]
    found = _parsed(latencies("t", lines, [Span(4.0, 6.0, "node 1 killed")], 5000.0))
    rect = found.find(f"{_SVG}rect")
    points = found.find(f"{_SVG}g/{_SVG}polyline")
    assert rect is not None and points is not None
    left, width = float(rect.get("x", "")), float(rect.get("width", ""))
    xy = [tuple(map(float, one.split(","))) for one in points.get("points", "").split()]
    assert left < xy[1][0] < left + width and not left < xy[0][0] < left + width
    assert xy[1][1] < xy[0][1]
