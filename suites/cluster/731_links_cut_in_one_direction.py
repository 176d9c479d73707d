"""This case checks that a cluster serves nothing old if its leader only sends, or only receives.

How: first nothing that the leader sends reaches the other nodes, then it receives nothing of them.
Its clients reach it all the time. Stamped writes, reads and flushes run through all nodes.
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
        for is_mute in (True, False):
            leader = cluster.leader()
            for other in cluster.names:
                if other != leader:
                    cluster.cut(*((leader, other) if is_mute else (other, leader)))
            clients.wait_for(30)
            cluster.heal()
            clients.wait_for(30)
        found = clients.finish()
        log(*cluster.happened)
        assert len(cluster.happened) == 2 and not found, f"{cluster.happened}: {found}"
