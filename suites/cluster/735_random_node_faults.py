"""This case checks that a cluster survives faults of nodes and links in a random order.

How: six faults, each of another kind at a random node, in a random order: killed, paused, cut off,
not heard by the others, slow, or all nodes killed. Each ends before the next one begins, sometimes
just before, so that nodes fail while others catch up. Stamped requests run meanwhile.
Guards: stale-replica-after-failover, resync-overwrites-newer, phantom-write.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.clients import Clients
from qbdcheck.kit.cluster.processes import ClusterProcesses

KINDS = ("killed", "paused", "cut off", "mute", "slow", "all killed")


def harm(cluster, clients, kind, node):
    """Let one fault happen, wait until others have served, and end it."""
    if kind == "all killed":
        cluster.kill(*cluster.names)
        for name in cluster.names:
            cluster.start(name)
        return
    if kind == "killed":
        cluster.kill(node)
    elif kind == "paused":
        cluster.pause(node)
    elif kind == "slow":
        cluster.slow_down(node)
    elif kind == "cut off":
        cluster.cut_off(node)
    else:
        for other in cluster.names:
            if other != node:
                cluster.cut(node, other)
    clients.wait_for(25)
    if kind == "killed":
        cluster.start(node)
    elif kind == "paused":
        cluster.resume(node)
    else:
        cluster.heal()


@case(groups="cluster crash slow", basis="MUST: qbdcheck, docs/cluster.md", limit_s=600)
def test(target, scratch, seed, log):
    random = seed.stream("faults")
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        clients = Clients(cluster, seed)
        clients.wait_for(20)
        for kind in random.sample(KINDS, len(KINDS)):
            node = cluster.leader() if random.random() < 0.5 else random.choice(cluster.names)
            log(f"node {node}: {kind}")
            harm(cluster, clients, kind, node)
            clients.wait_for(random.choice((1, 25)))
        clients.wait_for(20)
        found = clients.finish()
        log(*cluster.happened)
        assert len(cluster.happened) >= len(KINDS) and not found, f"{cluster.happened}: {found}"
