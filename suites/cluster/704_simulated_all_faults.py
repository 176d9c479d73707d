"""This case checks that a cluster survives each combination of faults, and serves soon after.

How: 60 simulated schedules of two to five faults of all kinds, often one during the repair of
another. After each schedule everything must be served within the stated failover time.
Guards: stale-replica-after-failover, flush-one-child-only, torn-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import hunt, must_be_simulated


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, seed, log):
    must_be_simulated(target.description)
    found = hunt(range(seed, seed + 60))
    log(found)
    found.must_be_right()
