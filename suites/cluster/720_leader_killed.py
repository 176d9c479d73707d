"""This case checks that the data survives when the leader is killed, and another node serves soon.

How: the leader dies by SIGKILL, comes back, and the next leader dies too;
stamped writes, reads and flushes run through all three nodes meanwhile. The history is
judged sector by sector: requests without an answer may have taken effect or not.
Guards: stale-replica-after-failover, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.clients import Clients
from qbdcheck.kit.cluster.processes import ClusterProcesses


@case(groups="cluster crash", basis="MUST: qbdcheck, docs/cluster.md", limit_s=240)
def test(target, scratch, seed, log):
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        clients = Clients(cluster, seed)
        clients.wait_for(20)
        for _ in range(2):
            leader = cluster.leader()
            cluster.kill(leader)
            clients.wait_for(20)
            cluster.start(leader)
            clients.wait_for(20)
        found = clients.finish()
        log(*cluster.happened)
        assert cluster.happened and not found, f"{cluster.happened}: {found}"
