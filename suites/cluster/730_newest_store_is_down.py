"""This case checks that two of three nodes serve, and nothing old, while the last leader is dead.

How: the leader dies by SIGKILL, clients write through the next one, and this one dies too. The
first one comes back: two nodes must serve, although one missed writes. At last all nodes run.
Guards: stale-replica-after-failover, phantom-write.
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
        cluster.kill(newest)
        cluster.start(old)
        clients.wait_for(40)
        cluster.start(newest)
        clients.wait_for(20)
        found = clients.finish()
        log(*cluster.happened)
        assert len(cluster.happened) == 2 and not found, f"{cluster.happened}: {found}"
