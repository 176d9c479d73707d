"""This case checks that ten thousand simulated schedules show nothing wrong with the cluster.

How: 5,000 schedules with faults at random times, and 5,000 with faults at votes, elections, starts
and replies. All reads are judged, and all replicas compared.
Guards: stale-replica-after-failover, flush-one-child-only, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import hunt, must_be_simulated

SCHEDULES = 5_000


@case(groups="cluster self nightly", limit_s=1200, basis="MUST: qbdcheck, docs/cluster.md")
def test(target, seed, log):
    must_be_simulated(target.description)
    for at_events in (False, True):
        found = hunt(range(seed, seed + SCHEDULES), at_events=at_events)
        log(found)
        found.must_be_right()
