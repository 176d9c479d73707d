"""The pages of perf are well-formed, say the verdict first, and draw each chart."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

import pytest

from qbdcheck.report import perf_page

RATIO = {"value": 1.2, "low": 1.1, "high": 1.3}


def _matrix(limit: float | None, regressions: list[str]) -> dict[str, Any]:
    row = {"shape": "fio:read:4k:qd1:x1", "metric": "IOPS", "ratio": RATIO, "answer": "faster"}
    return {
        "target": "a<b",
        "machine": {"cores": "2"},
        "fingerprint": "0123456789ab",
        "noise": {"others": 0.01, "spread": 0.02},
        "comparisons": [
            {"other": "x&y", "limit": limit, "regressions": regressions, "rows": [row]}
        ],
        "shapes": [
            {
                "target": "a<b",
                "shape": "fio:read:4k:qd1:x1",
                "medians": {"IOPS": RATIO},
                "bytes_per_s": RATIO,
                "percentiles_ns": {},
            }
        ],
    }


def _body(page: str) -> ET.Element:
    return ET.fromstring(f"<body>{page.partition('<body>')[2].partition('</body>')[0]}</body>")


@pytest.mark.parametrize(
    ("limit", "regressions", "tone", "text"),
    [
        (0.05, ["all shapes server CPU"], "fail", "more than 5% in: all shapes server CPU"),
        (0.05, [], "pass", "no regression of more than 5% is shown"),
    ],
)
def test_a_comparison_says_its_verdict(
    limit: float, regressions: list[str], tone: str, text: str
) -> None:
    body = _body(perf_page.matrix(_matrix(limit, regressions)))
    lead = next(one for one in body.iter("p") if "lead" in one.get("class", ""))
    assert lead.get("class") == f"lead {tone}" and text in (lead.text or "")
    assert len(list(body.iter("svg"))) == 1


def test_a_fault_is_shaded_and_judged_by_the_limit() -> None:
    point = {"at_s": 0.0, "50": 1.0, "99": 2.0, "100": 6000.0}
    fault = {
        "fault": "node killed",
        "longest_stall_s": 6.0,
        "over_time_ms": [point, {**point, "at_s": 1.0}],
        "spans": [{"start_s": 0.2, "end_s": 0.8, "label": "node 1 is dead"}],
    }
    for limit_s, tone in ((5.0, "fail"), (10.0, "pass")):
        document = {"target": "t", "failover_s": limit_s, "faults": [fault]}
        body = _body(perf_page.faults(document))
        lead = next(one for one in body.iter("p") if "lead" in one.get("class", ""))
        assert lead.get("class") == f"lead {tone}"
        assert "longest stall 6.000 s" in (lead.text or "")
        assert [one.get("class") for one in body.iter("rect")] == ["fault"]
        assert len(list(body.iter("polyline"))) == 3
