"""This case checks that no write is lost when the leader after a failover loses its store.

How: the leader dies by SIGKILL. Clients write through the next leader, which then dies and loses
its store. The first one comes back, then the second one with an empty store. Only one store is ever
lost, so each acknowledged write must be in another one.
Guards: stale-replica-after-failover, resync-overwrites-newer.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.clients import Clients
from qbdcheck.kit.cluster.processes import ClusterProcesses


@case(groups="cluster crash", basis="MUST: qbdcheck, docs/cluster.md", limit_s=360)
def test(target, scratch, seed, log):
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        clients = Clients(cluster, seed)
        clients.wait_for(40)
        old = cluster.leader()
        cluster.kill(old)
        clients.wait_for(60)
        newest = cluster.leader()
        assert newest != old, f"node {old} leads, which was killed"
        cluster.kill(newest)
        cluster.lose_store(newest)
        cluster.start(old)
        cluster.start(newest)
        clients.wait_for(20)
        cluster.wait_until_settled()
        found = clients.finish()
        log(*cluster.happened)
        assert len(cluster.happened) == 3 and not found, f"{cluster.happened}: {found}"
