"""This case checks that the checker of histories finds a stale cache, and draws what it found.

How: the reference server in this process with a planted bug: each client has a cache that no other
client invalidates. The anomaly must name the requests, and a picture must be made.
Related: per-client-cache-stale, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan

PLAN = Plan(size=4096, lengths=(1, 8))


@case(groups="model self", basis="MUST: qbdcheck, docs/models.md")
def test(model, log, golden):
    for bug, options in (("per-client-cache-stale", {}), ("phantom-write", {"rate": "4"})):
        anomalies = model.history_of(bug, 3, PLAN, **options).anomalies()
        log(bug, *anomalies[:3])
        longest = max((len(anomaly.cycle) for anomaly in anomalies), default=0)
        assert longest <= 4, f"{bug}: an anomaly names {longest} requests, expected 1 to 4"
        golden(f"{bug}: {'found' if anomalies else 'not found'}")
