"""This case checks that a cluster serves without a follower, and brings it up to date afterwards.

How: a follower dies by SIGKILL and comes back; then the other one stays dead;
stamped writes, reads and flushes run through all three nodes meanwhile. The history is
judged sector by sector: requests without an answer may have taken effect or not.
Guards: stale-replica-after-failover.
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
        first, second = (name for name in cluster.names if name != leader)
        cluster.kill(first)
        clients.wait_for(20)
        cluster.start(first)
        clients.wait_for(20)
        cluster.kill(second)
        clients.wait_for(20)
        cluster.start(second)
        found = clients.finish()
        log(*cluster.happened)
        assert cluster.happened and not found, f"{cluster.happened}: {found}"
