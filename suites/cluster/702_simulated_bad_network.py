"""This case checks that lost, late, doubled and reordered messages do a cluster no harm.

How: 40 simulated schedules with faults of these kinds, with requests in bursts near them. All reads
are judged, all replicas compared, and each kind of fault must have happened.
Guards: zombie-write-after-reconnect, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.hunt import hunt, must_be_simulated

FAULTS = ("loss", "delay", "duplicate")


@case(groups="cluster self", basis="MUST: qbdcheck, docs/cluster.md")
def test(target, seed, log):
    must_be_simulated(target.description)
    found = hunt(range(seed, seed + 40), faults=FAULTS)
    log(found)
    found.must_be_right()
    silent = [
        kind for kind in (*FAULTS, "dropped", "delayed", "doubled") if not found.happened[kind]
    ]
    assert not silent, f"these faults never happened: {silent}"
