"""This case checks that a cluster with slow links loses nothing and still serves.

How: all links of the leader carry little in both directions for a while, so that heartbeats and
writes wait in queues. Whether another node leads meanwhile is the cluster's affair.
Guards: stale-replica-after-failover, zombie-write-after-reconnect.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.clients import Clients
from qbdcheck.kit.cluster.processes import ClusterProcesses


@case(groups="cluster crash", basis="MUST: qbdcheck, docs/cluster.md", limit_s=360)
def test(target, scratch, seed, log):
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        clients = Clients(cluster, seed)
        clients.wait_for(20)
        cluster.slow_down(cluster.leader())
        clients.wait_for(60)
        cluster.heal()
        clients.wait_for(30)
        found = clients.finish()
        log(*cluster.happened)
        assert cluster.happened and not found, f"{cluster.happened}: {found}"
