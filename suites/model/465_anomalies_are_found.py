"""This case checks that the checker of histories finds a stale cache, and draws what it found.

How: a server whose clients each have a cache that nobody else invalidates, which is a seeded bug of
the reference backend, in this process; the anomaly must name the requests, and a picture be made.
Guards: per-client-cache-stale, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan

PLAN = Plan(size=4096, lengths=(1, 8))


@case(groups="model self")
def test(model, log, golden):
    for bug, options in (("per-client-cache-stale", {}), ("phantom-write", {"rate": "4"})):
        anomalies = model.history_of(bug, 3, PLAN, **options).anomalies()
        log(bug, *anomalies[:3])
        assert all(1 <= len(anomaly.cycle) <= 4 for anomaly in anomalies)
        golden(f"{bug}: {'found' if anomalies else 'not found'}")
