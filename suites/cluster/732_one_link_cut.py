"""This case checks that a cluster serves nothing old if two nodes do not reach each other.

How: the link between the leader and another node is cut in both directions. The third node reaches
both. Stamped writes, reads and flushes run through all nodes meanwhile.
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
        leader = cluster.leader()
        other = next(name for name in cluster.names if name != leader)
        cluster.cut(leader, other)
        cluster.cut(other, leader)
        clients.wait_for(40)
        cluster.heal()
        clients.wait_for(30)
        found = clients.finish()
        log(*cluster.happened)
        assert cluster.happened and not found, f"{cluster.happened}: {found}"
