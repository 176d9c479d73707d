"""This case checks that qemu-io at one node sees all its data through the failover to another.

How: qemu-io writes through a follower and flushes, the leader is killed, and the same qemu-io reads
and writes on. At last another node must return the same bytes to a new qemu-io.
Guards: stale-replica-after-failover, flush-one-child-only.
"""

from qbdcheck.kit import case
from qbdcheck.kit.cluster.processes import ClusterProcesses


@case(groups="cluster crash", basis="MUST: qbdcheck, docs/cluster.md", limit_s=240)
def test(target, scratch, run):
    with ClusterProcesses(target.description, scratch, 1 << 20) as cluster:
        leader = cluster.leader()
        first, second = (name for name in cluster.names if name != leader)

        def qemu_io(name, *commands):
            words = [word for command in commands for word in ("-c", command)]
            run(["qemu-io", "-f", "raw", *words, cluster.uri(name)], timeout_s=90)

        qemu_io(first, "write -P 0x11 0 256k", "write -P 0x22 100k 7k", "flush")
        cluster.kill(leader)
        qemu_io(first, "read -P 0x11 0 100k", "read -P 0x22 100k 7k", "write -P 0x33 512 64k")
        qemu_io(second, "read -P 0x33 512 64k", "read -P 0x22 100k 7k", "read -P 0 512k 64k")
        happened = cluster.happened
        assert happened == [f"node {leader} was killed"], f"the faults are {happened}"
