"""This case checks that the data survives when all nodes are killed at once.

How: all nodes die by SIGKILL under load and start again;
stamped writes, reads and flushes run through all three nodes meanwhile. The history is
judged sector by sector: requests without an answer may have taken effect or not.
Guards: phantom-write, stale-replica-after-failover.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.clients import Clients
from qbdcheck.kit.cluster.processes import ClusterProcesses


@case(groups="cluster crash", basis="MUST: qbdcheck, docs/cluster.md", limit_s=240)
def test(target, scratch, seed, log):
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        clients = Clients(cluster, seed)
        clients.wait_for(20)
        cluster.kill(*cluster.names)
        for name in cluster.names:
            cluster.start(name)
        clients.wait_for(20)
        found = clients.finish()
        log(*cluster.happened)
        assert cluster.happened and not found, f"{cluster.happened}: {found}"
