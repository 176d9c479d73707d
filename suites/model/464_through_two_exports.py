"""This case checks that two exports of one QEMU node are coherent with each other.

How: a qemu-storage-daemon exports the volume twice. Clients of both exports work on the same
sectors, and the history of each sector must be linearizable.
Guards: multi-conn-incoherent, merge-after-issue.
Related: per-client-cache-stale.
"""

from qbdcheck.kit import case
from qbdcheck.kit.model.concurrent import Plan


@case(
    groups="model concurrent export",
    basis=("MUST: QAPI, block-export-add", "POLICY: requests-take-effect-at-one-moment"),
)
def test(new_disk, model, storage_daemon, nbd):
    disk = new_disk("32k", prefill=False)
    with storage_daemon() as daemon:
        daemon.add(disk.blockdev("shared", discard="unmap"))
        uris = [daemon.export("shared", name) for name in ("one", "two")]
        turn = iter(uris * 8)
        model.record(disk, 4, Plan(requests=300), 0, lambda: nbd(next(turn)))
