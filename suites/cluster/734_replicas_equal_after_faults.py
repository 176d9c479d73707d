"""This case checks that all nodes have the same data after faults, byte by byte in their stores.

How: a follower dies and comes back, the leader is paused, and the links of a node are cut. When the
cluster says that it has recovered, all nodes are stopped, and their stores are read and compared.
Guards: stale-replica-after-failover, resync-overwrites-newer.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.clients import Clients
from qbdcheck.kit.cluster.processes import ClusterProcesses


@case(groups="cluster crash", basis="MUST: qbdcheck, docs/cluster.md", limit_s=480)
def test(target, scratch, seed, log):
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        cluster.must_show_replicas()
        clients = Clients(cluster, seed)
        clients.wait_for(20)
        leader = cluster.leader()
        follower = next(name for name in cluster.names if name != leader)
        cluster.kill(follower)
        clients.wait_for(30)
        cluster.start(follower)
        clients.wait_for(20)
        cluster.pause(leader)
        clients.wait_for(30)
        cluster.resume(leader)
        clients.wait_for(20)
        cluster.cut_off(follower)
        clients.wait_for(30)
        cluster.heal()
        clients.wait_for(20)
        found = clients.finish().and_those(cluster.compare_replicas())
        log(*cluster.happened)
        assert len(cluster.happened) == 3 and not found, f"{cluster.happened}: {found}"
