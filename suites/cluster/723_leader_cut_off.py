"""This case checks that a leader that is cut off from the other nodes serves nothing old.

How: a relay in each link cuts the leader off, while its clients still reach it;
stamped writes, reads and flushes run through all three nodes meanwhile. The history is
judged sector by sector: requests without an answer may have taken effect or not.
Guards: stale-replica-after-failover, zombie-write-after-reconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.clients import Clients
from qbdcheck.kit.cluster.processes import ClusterProcesses


@case(groups="cluster crash", basis="MUST: qbdcheck, docs/cluster.md", limit_s=240)
def test(target, scratch, seed, log):
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        clients = Clients(cluster, seed)
        clients.wait_for(20)
        leader = cluster.leader()
        cluster.cut_off(leader)
        clients.wait_for(30)
        cluster.heal()
        clients.wait_for(30)
        found = clients.finish()
        log(*cluster.happened)
        assert cluster.happened and not found, f"{cluster.happened}: {found}"
